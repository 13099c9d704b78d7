"""The files of a zone's proxy say what the groups' behaviours say, and nothing that the groups do not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import HoldfastError
from holdfast.local.envoy import filters, replies, routes, targets, zone
from holdfast.local.envoy.admin import Admin, ProxyGone
from holdfast.local.envoy.zone import Fault, Target, ZoneProxy
from holdfast.model import Behaviour, Group, HealthCheck, Link, RateLimit, Role

GATEWAY = Behaviour(
    request_timeout_s=29, max_payload_bytes=10_485_760, max_header_bytes=10_240, rate_limit=RateLimit(50, 100)
)
BALANCER = Behaviour(idle_timeout_s=60, connect_timeout_s=10, max_header_bytes=65_536, fail_open=True)
HEALTH = HealthCheck(interval_s=5, timeout_s=2, unhealthy_threshold=2, healthy_threshold=5, path="/up")


def group(role: Role, behaviour: Behaviour) -> Group:
    return Group(role.value, role.value, role, "eu-west-1", None, behaviour, ())


BOTH = (group(Role.GATEWAY, GATEWAY), group(Role.BALANCER, BALANCER))
LINK = Link("balancer:workers", "balancer", "workers", health=HEALTH)


def proxy(*chain: Group, compute: Role = Role.WORKERS, link: Link = LINK, **changes: Any) -> ZoneProxy:
    base = ZoneProxy(
        region="eu-west-1",
        zone="eu-west-1a",
        host="127.0.0.1",
        port=8080,
        admin_socket="admin.sock",
        chain=chain or BOTH,
        compute=group(compute, Behaviour()),
        link=link,
        region_zones=3,
        access_log="access.log",
    )
    return replace(base, **changes)


def manager(one: ZoneProxy) -> Any:
    listener = zone.boot(one)[zone.LISTENER_FILE]["resources"][0]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def filter_names(one: ZoneProxy) -> list[str]:
    return [each["name"] for each in manager(one)["http_filters"]]


def api_route(files: dict[str, Any]) -> Any:
    return files[filters.ROUTES_FILE]["resources"][0]["virtual_hosts"][0]["routes"][-1]


def cluster(one: ZoneProxy) -> Any:
    return zone.boot(one)[zone.CLUSTERS_FILE]["resources"][0]


def endpoints(one: ZoneProxy, *registered: Target) -> list[Any]:
    (assignment,) = zone.endpoints(one, registered)[targets.ENDPOINTS_FILE]["resources"]
    return list(assignment["endpoints"][0]["lb_endpoints"])


def paths(value: Any) -> Iterator[str]:
    """Every xDS file that a configuration refers to."""
    if isinstance(value, dict):
        if "path_config_source" in value:
            yield value["path_config_source"]["path"]
        for each in value.values():
            yield from paths(each)
    elif isinstance(value, list):
        for each in value:
            yield from paths(each)


def test_boot_holds_every_file_that_it_refers_to() -> None:
    files = zone.boot(proxy())
    assert set(paths(files)) == set(files) - {"envoy.json"}
    json.dumps(files, allow_nan=False)


def test_a_config_push_leaves_the_targets_and_the_share_alone() -> None:
    assert set(zone.config(proxy())) == {zone.LISTENER_FILE, zone.CLUSTERS_FILE, filters.ROUTES_FILE}


def test_the_tighter_limit_of_the_chain_holds() -> None:
    rules = proxy().rules
    assert (rules.request_timeout_s, rules.idle_timeout_s, rules.max_header_bytes) == (29, 60, 10_240)
    assert manager(proxy())["max_request_headers_kb"] == 10


@pytest.mark.parametrize(
    ("chain", "timeout_s", "idle_s"),
    [(BOTH, 29, 7), (BOTH[:1], 7, None), (BOTH[1:], None, 7)],
    ids=["gateway-balancer", "gateway", "balancer"],
)
def test_the_links_timeout_is_an_idle_timeout_behind_a_balancer(
    chain: tuple[Group, ...], timeout_s: float | None, idle_s: float | None
) -> None:
    rules = proxy(*chain, link=replace(LINK, timeout_s=7)).rules
    assert (rules.request_timeout_s, rules.idle_timeout_s) == (timeout_s, idle_s)


def test_what_no_group_limits_is_not_in_the_chain() -> None:
    bare = proxy(group(Role.GATEWAY, Behaviour()))
    assert filter_names(bare) == [routes.PROBE_FILTER, routes.FAULT_FILTER, "envoy.filters.http.router"]
    assert "max_request_headers_kb" not in manager(bare)
    assert api_route(zone.boot(bare))["route"]["timeout"] == "0s"


def test_a_gateway_with_limits_has_a_filter_for_each() -> None:
    assert filter_names(proxy())[2:-1] == ["throttle", "payload"]


def test_only_a_gateway_throttles() -> None:
    limited = replace(BALANCER, rate_limit=RateLimit(1, 1))
    assert "throttle" not in filter_names(proxy(group(Role.BALANCER, limited)))


def test_filters_that_cost_nothing_while_off_are_off() -> None:
    off = {each["name"] for each in manager(proxy())["http_filters"] if each.get("disabled")}
    assert off == {routes.PROBE_FILTER, routes.FAULT_FILTER}


@given(rate=st.floats(min_value=0.001, max_value=1e6), burst=st.integers(min_value=1, max_value=10**6))
def test_the_bucket_refills_at_the_rate(rate: float, burst: int) -> None:
    bucket = filters.throttle(RateLimit(rate, burst))["typed_config"]["token_bucket"]
    interval_s = float(bucket["fill_interval"].removesuffix("s"))
    assert bucket["tokens_per_fill"] / interval_s == pytest.approx(rate, rel=1e-6)
    assert interval_s >= 0.05, "Envoy refuses to refill more often"
    assert bucket["max_tokens"] == burst


def test_a_chain_without_gateway_and_balancer_is_refused() -> None:
    with pytest.raises(HoldfastError, match="API gateway or a load balancer"):
        _ = proxy(group(Role.CDN, Behaviour())).rules


def test_functions_are_not_health_checked() -> None:
    assert "health_checks" not in cluster(proxy(BOTH[0], compute=Role.FUNCTIONS))


def test_the_health_check_is_the_links() -> None:
    (check,) = cluster(proxy())["health_checks"]
    assert (check["interval"], check["no_traffic_interval"], check["timeout"]) == ("5s", "5s", "2s")
    assert (check["unhealthy_threshold"], check["healthy_threshold"]) == (2, 5)
    assert check["http_health_check"]["path"] == "/up"


def test_the_connect_timeout_is_the_links_or_else_the_balancers() -> None:
    assert cluster(proxy())["connect_timeout"] == "10s"
    assert cluster(proxy(link=replace(LINK, connect_timeout_s=3)))["connect_timeout"] == "3s"


@pytest.mark.parametrize(("fail_open", "percent"), [(True, 1), (False, 0)])
def test_fail_open_is_the_balancers(fail_open: bool, percent: int) -> None:
    one = proxy(group(Role.BALANCER, replace(BALANCER, fail_open=fail_open)))
    assert cluster(one)["common_lb_config"]["healthy_panic_threshold"] == {"value": percent}


def test_no_circuit_breaker_and_no_outlier_detection_and_no_retry() -> None:
    one = proxy()
    (thresholds,) = cluster(one)["circuit_breakers"]["thresholds"]
    assert {thresholds[key] for key in ("max_connections", "max_pending_requests", "max_requests")} == {
        targets.NO_LIMIT
    }
    assert "outlier_detection" not in cluster(one)
    assert "retry_policy" not in json.dumps(zone.boot(one))


HERE = Target("eu-west-1a/ecs-1", "eu-west-1a", "127.0.0.1", 9001)
THERE = Target("eu-west-1b/ecs-2", "eu-west-1b", "127.0.0.1", 9002)


@pytest.mark.parametrize(("cross_zone", "nodes"), [(True, [HERE.node, THERE.node]), (False, [HERE.node])])
def test_cross_zone_decides_whose_targets_are_used(cross_zone: bool, nodes: list[str]) -> None:
    one = proxy(group(Role.BALANCER, replace(BALANCER, cross_zone=cross_zone)))
    assert [each["endpoint"]["hostname"] for each in endpoints(one, HERE, THERE)] == nodes


def test_a_draining_target_is_outside_of_the_subset_that_is_routed_to() -> None:
    staying, leaving = endpoints(proxy(), HERE, replace(HERE, port=9003, draining=True, weight=2))
    wanted = api_route(zone.boot(proxy()))["route"]["metadata_match"]
    assert staying["metadata"] == wanted
    assert (leaving["metadata"], leaving["health_status"]) == ({"filter_metadata": {}}, "DRAINING")
    assert leaving["load_balancing_weight"] == 2


def test_a_fault_is_on_the_api_route_only() -> None:
    fault = Fault(abort_pct=12.5, abort_status=500, delay_pct=100, delay_s=0.25)
    files = zone.faults(proxy(), fault)
    config = api_route(files)["typed_per_filter_config"][routes.FAULT_FILTER]
    assert config["abort"] == {
        "http_status": 500,
        "percentage": {"numerator": 125_000, "denominator": "MILLION"},
    }
    assert config["delay"]["fixed_delay"] == "0.25s"
    assert json.dumps(files).count("HTTPFault") == 1


def test_half_a_fault_is_only_that_half() -> None:
    assert "delay" not in routes.http_fault(Fault(abort_pct=1))
    assert "abort" not in routes.http_fault(Fault(delay_pct=1, delay_s=1))


def test_no_fault_is_the_configuration_itself() -> None:
    assert zone.faults(proxy(), None).items() <= zone.config(proxy()).items()


@pytest.mark.parametrize(("zones", "peers"), [(3, 3), (1, 1), (0, 1)])
def test_the_share_is_never_by_nought(zones: int, peers: int) -> None:
    (assignment,) = zone.share(proxy(), zones)[zone.PEERS_FILE]["resources"]
    assert len(assignment["endpoints"][0]["lb_endpoints"]) == peers


def bodies(one: ZoneProxy) -> dict[int, list[str]]:
    """Status -> the made-up bodies that may carry it, in the order they are tried."""
    found: dict[int, list[str]] = {}
    for mapper in replies.local_replies(one.rules)["mappers"]:
        body = mapper["body_format_override"]["text_format_source"]["inline_string"]
        found.setdefault(mapper["status_code"], []).append(body)
    return found


def test_a_gateway_alone_never_speaks_html() -> None:
    assert not [body for each in bodies(proxy(BOTH[0])).values() for body in each if "<html>" in body]


def test_a_balancer_alone_never_speaks_json() -> None:
    assert not [body for each in bodies(proxy(BOTH[1])).values() for body in each if "message" in body]


def test_a_gateway_before_a_balancer_hands_on_the_balancers_502_but_times_out_itself() -> None:
    both = bodies(proxy())
    assert "<h1>502 Bad Gateway</h1>" in both[502][0]
    assert both[504][0] == '{"message": "Endpoint request timed out"}'


def test_websockets_are_for_balancers_only() -> None:
    assert "upgrade_configs" not in manager(proxy())
    balancer = manager(proxy(BOTH[1]))
    assert balancer["upgrade_configs"] == [{"upgrade_type": "websocket"}]
    assert balancer["http2_protocol_options"] == {"allow_connect": True}, "the edge asks with CONNECT"


def test_the_admin_socket_is_the_owners_alone() -> None:
    pipe = zone.boot(proxy(admin_socket="run/a.sock"))["envoy.json"]["admin"]["address"]["pipe"]
    assert pipe == {"path": "run/a.sock", "mode": 0o600}


def test_the_command_line_starts_the_program_itself() -> None:
    argv = zone.argv(proxy())
    assert os.access(argv[0], os.X_OK)
    assert argv[argv.index("-c") + 1] == "envoy.json"
    assert "--reject-unknown-dynamic-fields" in argv
    assert "--disable-hot-restart" in argv, "or the proxies of two zones would claim the same shared memory"


async def test_an_absent_process_is_reported_as_gone(tmp_path: Any) -> None:
    async with Admin(str(tmp_path / "no.sock")) as admin:
        with pytest.raises(ProxyGone, match=r"does not answer on .*no\.sock"):
            await admin.target_health()
