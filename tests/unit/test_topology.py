"""Resolving: which groups, which links, which notes; the same for every chain and platform."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import manifest
from holdfast.manifest import Compute, Entry, Manifest, Regions, Service, parse, regions
from holdfast.manifest.schema import Replicas
from holdfast.model import Role, Topology
from holdfast.topology import resolve

SERVICE = '[service]\nname = "orders"\ncommand = ["serve", "{port}"]\n'


def of(text: str = "") -> Topology:
    return resolve(parse(SERVICE + text))


def hops(topology: Topology) -> list[str]:
    return [link.id for link in topology.links]


def test_the_default_shape() -> None:
    found = of('[regions]\nnames = ["eu-west-1"]\n')
    assert [group.id for group in found.groups] == [
        "route53", "cloudfront", "edgefunction",
        "vpc.eu-west-1", "apigateway.eu-west-1", "alb.eu-west-1", "ecs.eu-west-1",
    ]  # fmt: skip
    assert hops(found) == [
        "route53:cloudfront", "route53:apigateway.eu-west-1", "cloudfront:apigateway.eu-west-1",
        "apigateway.eu-west-1:alb.eu-west-1", "alb.eu-west-1:ecs.eu-west-1",
    ]  # fmt: skip
    assert found.zones == {"eu-west-1": ("eu-west-1a", "eu-west-1b", "eu-west-1c")}
    assert found.domain == "orders.test"


def test_links_carry_their_callers_timing() -> None:
    found = of("[alb]\ninterval_s = 10\nunhealthy_threshold = 3\n[apigateway]\ntimeout_s = 12\n")
    assert found.link("apigateway.eu-west-1", "alb.eu-west-1").timeout_s == 12
    balancer = found.link("alb.eu-west-1", "ecs.eu-west-1")
    assert balancer.health is not None
    assert (balancer.health.interval_s, balancer.health.unhealthy_threshold) == (10, 3)
    assert balancer.timeout_s == found.group("alb.eu-west-1").behaviour.idle_timeout_s


def test_the_service_fills_what_a_block_leaves_open() -> None:
    text = SERVICE.replace("command", 'health = "/ready"\ndrain_s = 7\ncommand')
    found = resolve(parse(text + '[alb]\nhealth_path = "/alive"\n'))
    dns = found.link("route53", "apigateway.eu-west-1").health
    balancer = found.link("alb.eu-west-1", "ecs.eu-west-1").health
    assert dns is not None
    assert balancer is not None
    assert (dns.path, balancer.path) == ("/ready", "/alive")
    assert found.group("alb.eu-west-1").behaviour.drain_s == 7
    assert found.compute("eu-west-1").behaviour.drain_s == 7


@pytest.mark.parametrize(
    ("chain", "way"),
    [
        ('["alb"]', ["route53:alb.eu-west-1", "alb.eu-west-1:ecs.eu-west-1"]),
        ('["apigateway"]', ["route53:apigateway.eu-west-1", "apigateway.eu-west-1:ecs.eu-west-1"]),
        (
            '["cloudfront", "alb"]',
            [
                "route53:cloudfront",
                "route53:alb.eu-west-1",
                "cloudfront:alb.eu-west-1",
                "alb.eu-west-1:ecs.eu-west-1",
            ],
        ),
    ],
)
def test_shorter_chains(chain: str, way: list[str]) -> None:
    assert hops(of(f'[entry]\nchain = {chain}\n[regions]\nnames = ["eu-west-1"]\n')) == way


def test_functions_behind_a_gateway_need_no_balancer() -> None:
    found = of('[compute]\npattern = "lambda"\n')
    assert found.of_role(Role.BALANCER) == ()
    assert "apigateway.eu-west-1:awslambda.eu-west-1" in hops(found)
    assert "alb is left out: apigateway calls awslambda directly" in found.notes


def test_functions_keep_a_balancer_that_is_their_only_door() -> None:
    found = of('[compute]\npattern = "lambda"\n[entry]\nchain = ["alb"]\n')
    assert "alb.eu-west-1:awslambda.eu-west-1" in hops(found)


@pytest.mark.parametrize(
    ("routing", "priorities", "weights"),
    [
        ('routing = "latency"', [0, 0], [1, 1]),
        ('routing = "failover"', [0, 1], [1, 1]),
        ('routing = "weighted"\nweights = { eu-west-1 = 90 }', [0, 0], [90, 0]),
    ],
)
def test_dns_chooses_by_policy_and_the_cdn_follows_it(
    routing: str, priorities: list[int], weights: list[int]
) -> None:
    found = of(f"[regions]\n{routing}\n")
    dns = [found.link("route53", f"apigateway.{region}") for region in found.regions]
    cdn = [found.link("cloudfront", f"apigateway.{region}") for region in found.regions]
    assert [link.priority for link in dns] == priorities
    assert [link.weight for link in dns] == weights
    assert [link.priority for link in cdn] == priorities


def test_a_cdn_with_cached_paths_tries_the_regions_in_order() -> None:
    found = of('[[cloudfront.behaviors]]\npath = "/api/catalogue/*"\n')
    cdn = [found.link("cloudfront", f"apigateway.{region}") for region in found.regions]
    assert [link.priority for link in cdn] == [0, 1]


def test_a_client_adds_a_bucket_in_each_region(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    found = resolve(parse(SERVICE + 'client = "web"\n', folder=str(tmp_path)))
    assert [group.id for group in found.of_role(Role.BUCKET)] == ["s3.eu-west-1", "s3.us-east-1"]
    assert found.link("cloudfront", "s3.us-east-1").priority == 1
    assert found.app.client_dir == str(tmp_path / "web")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            '[entry]\nchain = ["alb"]\n[apigateway]\ntimeout_s = 9',
            "[apigateway] has no effect: it is not in this topology",
        ),
        ('[compute]\npattern = "lambda"\nvcpu = 1', "compute.vcpu has no effect on awslambda"),
        ('[entry]\nchain = ["apigateway"]', "apigateway does not check replicas"),
        ("[compute]\nreplicas = { min = 2 }", "compute.replicas.min = 2 leaves a zone without a replica"),
        ("", "no regions.domain: on this machine the name is orders.test"),
    ],
)
def test_notes_name_what_a_reader_might_not_expect(text: str, note: str) -> None:
    assert any(line.startswith(note) for line in of(text).notes)


def test_a_plain_manifest_with_a_domain_needs_no_notes() -> None:
    assert of('[regions]\ndomain = "api.example.com"\n').notes == ()


PLATFORM_NAMES = st.sampled_from(tuple(manifest.PLATFORMS))
CHAINS = st.sampled_from(
    [
        ("cloudfront", "apigateway", "alb"),
        ("cloudfront", "alb"),
        ("apigateway", "alb"),
        ("alb",),
        ("apigateway",),
    ]
)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    zones = draw(st.integers(2, 3))
    able = [name for name in regions.known() if regions.zones(name) >= zones]
    names = draw(st.lists(st.sampled_from(able), min_size=1, max_size=4, unique=True))
    low = draw(st.integers(1, 12))
    return Manifest(
        service=Service(name="orders", app="app:app"),
        regions=Regions(
            names=tuple(names), zones=zones, routing=draw(st.sampled_from(["latency", "weighted"]))
        ),
        entry=Entry(chain=draw(CHAINS)),
        compute=Compute(
            pattern=draw(PLATFORM_NAMES), replicas=Replicas(min=low, max=low + draw(st.integers(0, 5)))
        ),
    )


@settings(max_examples=60, deadline=None)
@given(manifests())
def test_any_manifest_resolves_to_one_consistent_topology(declared: Manifest) -> None:
    found = resolve(declared)
    assert resolve(declared) == found
    groups = [group.id for group in found.groups]
    nodes = [node.id for group in found.groups for node in group.nodes]
    links = [link.id for link in found.links]
    for ids in (groups, nodes, links):
        assert len(set(ids)) == len(ids)
    for link in found.links:
        assert {link.source, link.target} <= set(groups)
    for group in found.groups:
        assert {node.zone for node in group.nodes} <= {*group.zones, None}
    assert reachable(found) >= {found.compute(region).id for region in found.regions}


def reachable(topology: Topology) -> set[str]:
    """Groups that requests can get to from DNS."""
    seen = {group.id for group in topology.of_role(Role.DNS)}
    for _ in topology.links:
        seen |= {link.target for link in topology.links if link.source in seen}
    return seen
