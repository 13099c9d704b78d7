"""The edge's files as values: which route a path takes, and what each process is told."""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.components.cloudfront import CloudFront, CloudFrontSettings
from holdfast.components.edgefunction import EdgeFunction, EdgeFunctionSettings
from holdfast.local.envoy import edge, nginx
from holdfast.local.envoy.edge import Edge, Origin, State, errors
from holdfast.local.envoy.edge.routes import path_match
from holdfast.local.envoy.routes import Fault
from holdfast.model import Group, Role

ORIGINS = (Origin("us-east-1", "us.internal", 8080, 1), Origin("eu-west-1", "eu.internal", 8080, 0))


CACHED = ({"path": "/api/cached/*"},)


def an_edge(function: dict[str, Any] | None = None, bucket: str | None = "/site", **settings: Any) -> Edge:
    cloudfront = CloudFrontSettings(**settings)
    behaviour = CloudFront().behaviour(cloudfront)
    return Edge(
        host="127.64.0.2",
        http_port=8080,
        https_port=8443,
        admin_socket="edge.sock",
        access_log="access.log",
        cdn=Group("cloudfront", "cloudfront", Role.CDN, None, cloudfront, behaviour, ()),
        edge_function=_function(function) if function is not None else None,
        bucket_dir=bucket,
        api_hostname="api.internal",
        origins=ORIGINS,
        dns=("127.64.0.53", 53),
        certificate="/certs/server.pem",
        key="/certs/server.key",
        folder="/run",
    )


def _function(table: dict[str, Any]) -> Group:
    settings = EdgeFunctionSettings(**table)
    behaviour = EdgeFunction().behaviour(settings)
    return Group("edgefunction", "edgefunction", Role.EDGE_FUNCTION, None, settings, behaviour, ())


def matches(match: dict[str, Any], path: str) -> bool:
    """What Envoy does with the path of a route match."""
    if "prefix" in match:
        return path.startswith(match["prefix"])
    if "path" in match:
        return bool(path == match["path"])
    return re.fullmatch(match["safe_regex"]["regex"], path) is not None


def allows(match: dict[str, Any], method: str) -> bool:
    regexes = [header["string_match"]["safe_regex"]["regex"] for header in match.get("headers", [])]
    return all(re.fullmatch(regex, method) for regex in regexes)


def route(described: Edge, method: str, path: str, state: State | None = None) -> dict[str, Any]:
    """The route that a request takes: Envoy takes the first that matches."""
    table = edge.update(described, state or State())["xds/viewer.json"]["resources"][0]
    (host,) = table["virtual_hosts"]
    found = (r for r in host["routes"] if allows(r["match"], method) and matches(r["match"], path))
    taken: dict[str, Any] = next(found)
    return taken


def cluster(described: Edge, method: str, path: str) -> str:
    taken = route(described, method, path)
    return str(taken["route"]["cluster"]) if "route" in taken else str(taken["direct_response"]["status"])


PATH = st.text("/ab.x", max_size=6).map(lambda text: "/" + text)


@given(pattern=st.text("/ab.x*?", min_size=1, max_size=6), path=PATH)
@example(pattern="*", path="/")
@example(pattern="/api/*", path="/api/")
@example(pattern="*.x", path="/a/b.x")
def test_path_patterns_mean_what_cloudfront_says(pattern: str, path: str) -> None:
    """``*`` any characters with slashes, ``?`` exactly one, the leading slash optional."""
    full = pattern if pattern[0] in "/*" else f"/{pattern}"
    assert matches(path_match(pattern), path) is fnmatch.fnmatchcase(path, full)


def test_plain_patterns_need_no_regular_expression() -> None:
    assert path_match("/api/*") == {"prefix": "/api/"}
    assert path_match("health") == {"path": "/health"}


@pytest.mark.parametrize(
    ("method", "path", "to"),
    [
        ("GET", "/api/orders", "api"),
        ("POST", "/api/orders", "api"),
        ("GET", "/api/c/1", "store"),
        ("OPTIONS", "/api/c/1", "store"),
        ("POST", "/api/c/1", "403"),
        ("GET", "/api/c/live", "api"),
        ("GET", "/", "store"),
        ("GET", "/logo.svg", "store"),
        ("DELETE", "/logo.svg", "403"),
        ("GET", "/old", "308"),
    ],
)
def test_where_requests_go(method: str, path: str, to: str) -> None:
    behaviors = [{"path": "/api/c/live", "cache": False}, {"path": "/api/c/*"}]
    function = {"redirects": [{"from": "/old", "to": "/new", "status": 308}]}
    assert cluster(an_edge(function, behaviors=behaviors), method, path) == to


def test_without_a_client_everything_goes_to_the_api() -> None:
    alone = an_edge(bucket=None, behaviors=CACHED)
    assert {cluster(alone, "GET", path) for path in ("/", "/api/x", "/logo.svg")} == {"api"}
    names = [c["name"] for c in edge.boot(alone)["envoy.json"]["static_resources"]["clusters"]]  # type: ignore[index]
    assert names == ["api", "secondary", "store"]


def test_names_are_absolute_so_that_the_hosts_file_is_not_asked() -> None:
    clusters = edge.boot(an_edge(behaviors=CACHED))["envoy.json"]["static_resources"]["clusters"]  # type: ignore[index]
    asked = re.findall(r'"address": "([a-z.]+)", "port_value": 8080', json.dumps(clusters))
    assert asked == ["api.internal.", "us.internal."]


def test_the_api_path_has_no_filter_and_no_lua() -> None:
    for method in ("GET", "POST"):
        assert "typed_per_filter_config" not in route(an_edge(function={}), method, "/api/orders")


def test_the_secondary_is_the_origin_after_the_primary() -> None:
    grouped = an_edge(behaviors=CACHED)
    assert grouped.secondary == ORIGINS[0]
    assert replace(grouped, origins=ORIGINS[:1]).secondary is None
    assert an_edge(behaviors=CACHED, origin_failover=False).secondary is None
    assert an_edge().secondary is None, "AWS refuses an origin group on a behavior that allows writes"


def test_only_reads_are_repeated_after_they_were_sent() -> None:
    policies = {m: route(an_edge(), m, "/api/x")["route"]["retry_policy"] for m in ("GET", "POST", "OPTIONS")}
    assert policies["GET"]["retry_on"] == "connect-failure,reset"
    assert policies["POST"]["retry_on"] == policies["OPTIONS"]["retry_on"] == "connect-failure"
    assert {p["num_retries"] for p in policies.values()} == {2}
    once = route(an_edge(connection_attempts=1), "GET", "/api/x")["route"]["retry_policy"]
    assert once["num_retries"] == 0


def test_the_policy_travels_with_the_route() -> None:
    behaviour = {"path": "/api/c/*", "min_ttl_s": 1, "default_ttl_s": 2, "max_ttl_s": 3, "query": ["page"]}
    described = an_edge(behaviors=[behaviour | {"headers": ["X-Tenant"], "cookies": "all"}])
    taken = route(described, "GET", "/api/c/1", State(generation=7))
    assert taken["typed_per_filter_config"]["key"]["filter_context"] == {
        "generation": "7",
        "origin": "group",
        "ttl": "1,2,3,10,kept",
        "query": ["page"],
        "headers": ["x-tenant"],
        "cookies": "all",
        "compress": True,
    }


def test_an_invalidation_changes_every_key() -> None:
    before = State(fault=Fault(abort_pct=1))
    after = edge.invalidated(before)
    assert after == State(generation=1, fault=before.fault)
    changed = {
        name
        for name, file in edge.update(an_edge(), after).items()
        if file != edge.update(an_edge(), before)[name]
    }
    assert changed == {"xds/viewer.json"}


def fault_of(described: Edge, table: str, state: State) -> Any:
    (resource,) = edge.update(described, state)[f"xds/{table}.json"]["resources"]
    routes = [
        r
        for r in resource["virtual_hosts"][0]["routes"]
        if r.get("route", {}).get("cluster") in ("api", "secondary")
    ]
    (found,) = {json.dumps(r.get("typed_per_filter_config", {}).get("fault")) for r in routes}
    return json.loads(found)


def test_a_cut_strikes_only_the_way_to_that_region() -> None:
    first = State(answering="eu-west-1", cut_regions=frozenset({"eu-west-1"}))
    for table, struck in (("viewer", True), ("origin", True), ("secondary", False)):
        assert bool(fault_of(an_edge(behaviors=CACHED), table, first)) is struck
    second = replace(first, answering="us-east-1", cut_regions=frozenset({"us-east-1"}))
    assert fault_of(an_edge(behaviors=CACHED), "secondary", second)
    assert fault_of(an_edge(), "viewer", replace(second, answering="eu-west-1")) is None


def test_a_cut_lasts_as_long_as_connecting_would() -> None:
    cut = State(answering="eu-west-1", cut_regions=frozenset({"eu-west-1"}))
    described = an_edge(connection_attempts=2, connection_timeout_s=3)
    black_hole = fault_of(described, "viewer", cut)
    assert black_hole["delay"]["fixed_delay"] == "6s"
    assert black_hole["abort"]["http_status"] == 504
    refused = fault_of(described, "viewer", replace(cut, refuses=True))
    assert ("delay" in refused, refused["abort"]["http_status"]) == (False, 502)


def test_every_table_that_a_listener_names_is_written() -> None:
    for described in (
        an_edge(),
        an_edge(bucket=None),
        an_edge(behaviors=[{"path": "/api/c"}], origin_failover=False),
    ):
        files = edge.boot(described)
        named = set(re.findall(r'"path": "(xds/[a-z]+\.json)"', json.dumps(files["envoy.json"])))
        lua = set(re.findall(r'"filename": "(lua/[a-z]+\.lua)"', json.dumps(files["envoy.json"])))
        assert named <= files.keys()
        assert lua <= files.keys()


def test_percent_signs_reach_the_client_unchanged() -> None:
    table = edge.update(an_edge({"response_headers": {"x-sale": "5%"}}), State())["xds/viewer.json"][
        "resources"
    ][0]
    assert errors.overwrite("x-sale", "5%%") in table["response_headers_to_add"]


def test_a_browser_is_never_told_to_use_https_for_every_port_of_localhost() -> None:
    asked = an_edge({"response_headers": {"Strict-Transport-Security": "max-age=1", "x-own": "1"}})
    (table,) = edge.update(asked, State())["xds/viewer.json"]["resources"]
    added = {entry["header"]["key"].lower() for entry in table["response_headers_to_add"]}
    assert "x-own" in added
    assert "strict-transport-security" not in added
    assert table["response_headers_to_remove"] == ["strict-transport-security"], "nor by the application"


def test_an_upgrade_is_handed_on_only_to_an_origin_that_speaks_websockets() -> None:
    def viewers(described: Edge) -> list[dict[str, Any]]:
        boot = edge.boot(described)["envoy.json"]
        assert isinstance(boot, dict)
        chains = [one["filter_chains"][0] for one in boot["static_resources"]["listeners"]]
        managers = [chain["filters"][0]["typed_config"] for chain in chains]
        return [manager for manager in managers if manager["stat_prefix"] == "viewer"]

    balanced = an_edge()
    assert all("upgrade_configs" in manager for manager in viewers(balanced))
    for manager in viewers(replace(balanced, websockets=False)):
        assert "upgrade_configs" not in manager
        assert manager["http_protocol_options"]["ignore_http_11_upgrade"]


def test_http_3_is_an_offer_of_its_own() -> None:
    def ports(described: Edge) -> list[str]:
        found = edge.boot(described)["envoy.json"]["static_resources"]["listeners"]  # type: ignore[index]
        return [listener["name"] for listener in found]

    assert ports(an_edge()) == ["http", "https", "quic", "origin"]
    assert ports(an_edge(http3=False)) == ["http", "https", "origin"]
    assert ports(an_edge(behaviors=[{"path": "/c"}])) == ["http", "https", "quic", "origin", "secondary"]


def test_nginx_moves_on_for_the_statuses_it_is_told_and_for_what_envoy_could_not_reach() -> None:
    conf = nginx.config(nginx.Store(None, None, (500, 404)))
    assert "proxy_next_upstream error timeout invalid_header http_404 http_500 http_502 http_504;" in conf
    assert "server unix:secondary.sock max_fails=0 backup;" in conf
    alone = nginx.config(nginx.Store(None, None, ()))
    assert "proxy_next_upstream off;" in alone
    assert "secondary" not in alone
    assert "bucket.sock" not in alone


def test_a_folder_may_be_called_anything() -> None:
    conf = nginx.config(nginx.Store('/a "b" $c\\d', None, ()))
    assert 'root "/a \\"b\\" ${dollar}c\\\\d";' in conf


def test_an_error_page_names_its_status_and_nothing_else_is_formatted() -> None:
    assert "<h1>502 ERROR</h1>" in errors.page(502, "why")
    mappers = errors.local_replies()["mappers"]
    assert [m["status_code"] for m in mappers] == [504, 502, 504, 502, 413]
