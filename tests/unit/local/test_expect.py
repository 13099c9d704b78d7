"""What should follow a fault: numbers from the declaration, worked out by hand."""

from __future__ import annotations

import pytest

from holdfast import manifest, topology
from holdfast.local import expect
from holdfast.local.expect import OBSERVATION_S, Expectation, as_json
from holdfast.model import Group, Topology

ALB = "[alb]\ninterval_s = 10\ntimeout_s = 3\nunhealthy_threshold = 4\n"
DNS = "[route53]\ninterval_s = 30\nfailure_threshold = 2\nttl_s = 15\n"
ONE_REGION = '[regions]\nnames = ["eu-west-1"]\n'


def declared(text: str) -> Topology:
    return topology.resolve(manifest.parse('[service]\nname = "orders"\ncommand = ["sh", "{port}"]\n' + text))


def compute(place: Topology) -> Group:
    return place.compute("eu-west-1")


def node_lost(text: str, *, hangs: bool = False, speed: float = 1.0) -> dict[str, Expectation]:
    place = declared(ALB + text)
    found = expect.node_lost(place, compute(place), hangs=hangs, speed=speed)
    return {expectation.name: expectation for expectation in found}


def span(expectation: Expectation) -> tuple[float, float | None]:
    return expectation.lower_s, expectation.upper_s


FARGATE = '[compute]\npattern = "fargate"\n[ecs]\nstart_s = 40\nnotice_s = 6\n'
EC2 = '[compute]\npattern = "ec2"\n[ec2]\nstart_s = 100\n'


def test_a_scheduler_takes_a_crashed_node_out_at_once_and_replaces_it_after_notice_and_start() -> None:
    found = node_lost(FARGATE)
    assert span(found["out_of_balancer"]) == (0.0, OBSERVATION_S)
    assert span(found["replaced"]) == (46.0, None), "nobody knows how long the program itself takes"


def test_only_the_health_check_finds_a_crashed_instance() -> None:
    found = node_lost(EC2)
    assert span(found["out_of_balancer"]) == (30.0, 40.0 + OBSERVATION_S), (
        "4 checks 10 s apart, refused at once"
    )
    assert span(found["replaced"]) == (130.0, None), "the balancer's 30 s come before the platform's 60 s"


@pytest.mark.parametrize("platform", [FARGATE, EC2])
def test_a_node_that_hangs_is_found_by_the_health_check_on_every_platform(platform: str) -> None:
    found = node_lost(platform, hangs=True)
    assert span(found["out_of_balancer"]) == (33.0, 43.0 + OBSERVATION_S), "the last check waits for 3 s more"
    start_s = {FARGATE: 40.0, EC2: 100.0}[platform]
    assert span(found["replaced"]) == (33.0 + start_s, None)


def test_speed_compresses_the_platform_and_not_what_clients_see() -> None:
    crashed, hung = node_lost(FARGATE, speed=20), node_lost(EC2, hangs=True, speed=20)
    assert crashed["replaced"].lower_s == pytest.approx(46.0 / 20)
    assert "at speed 20" in crashed["replaced"].because
    assert span(hung["out_of_balancer"]) == (33.0, 43.0 + OBSERVATION_S)
    assert hung["replaced"].lower_s == pytest.approx(33.0 + 100.0 / 20)
    assert "speed" not in node_lost(FARGATE)["replaced"].because


def test_functions_route_around_a_lost_environment_and_have_no_count_to_return_to() -> None:
    found = node_lost('[entry]\nchain = ["apigateway"]\n[compute]\npattern = "lambda"\n')
    assert set(found) == {"out_of_balancer"}
    assert span(found["out_of_balancer"]) == (0.0, OBSERVATION_S)


def test_a_lost_zone_leaves_dns_as_well() -> None:
    place = declared(ALB + DNS + FARGATE)
    dns, *nodes = expect.zone_lost(place, compute(place), hangs=False, speed=1)
    assert dns.name == "zone_out_of_dns"
    check = place.of_role("dns")[0].behaviour.health  # type: ignore[arg-type]
    assert check is not None
    assert span(dns) == (30.0, 60.0 + check.timeout_s + OBSERVATION_S), "2 checks 30 s apart"
    assert [one.name for one in nodes] == ["out_of_balancer", "replaced"]


def test_a_lost_region_moves_dns_and_one_ttl_later_the_edge() -> None:
    place = declared(DNS)
    moved, edge = expect.region_lost(place, "eu-west-1")
    check = place.of_role("dns")[0].behaviour.health  # type: ignore[arg-type]
    assert check is not None
    assert (moved.name, edge.name) == ("dns_moved", "edge_moved")
    assert span(moved) == (30.0, 60.0 + check.timeout_s + OBSERVATION_S)
    assert edge.lower_s == moved.lower_s
    assert edge.upper_s == pytest.approx((moved.upper_s or 0) + 15.0)
    assert "TTL of 15 s" in edge.because


def test_without_a_cdn_only_dns_moves_and_with_one_region_nothing_does() -> None:
    (moved,) = expect.region_lost(declared('[entry]\nchain = ["alb"]\n'), "eu-west-1")
    assert moved.name == "dns_moved"
    assert expect.region_lost(declared(ONE_REGION), "eu-west-1") == ()


def test_every_expectation_says_why_in_json() -> None:
    place = declared(FARGATE)
    rows = as_json(expect.zone_lost(place, compute(place), hangs=True, speed=1))
    assert [set(row) for row in rows] == [{"name", "lower_s", "upper_s", "because"}] * 3
    assert all(row["because"] for row in rows)
