"""The distribution's cache behaviours as Envoy routes.

::

    redirects ─► cached API paths ─► API paths ─► the client's files          first match wins
                     │                   └─ straight to the API                    │
                     └───────────────────── through the cache ─────────────────────┘

An API path that is not cached is AWS's CachingDisabled: one hop, no filter but the router. Origin failover
applies to cached behaviours only, since AWS refuses an origin group on a behaviour that allows writes
("AllowedMethods cannot include POST, PUT, PATCH, or DELETE for a cached behavior associated with an origin
group").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.components.cloudfront import CacheBehavior
from holdfast.local.envoy import routes as faults
from holdfast.local.envoy.edge import errors, origins
from holdfast.local.envoy.edge.model import Edge, State
from holdfast.local.envoy.xds import Json, duration, extension, typed

ORIGIN_HEADER = "x-hf-origin"
KEY_FILTER = "key"
FAULT_FILTER = "fault"
GET_HEAD = "GET|HEAD"
READS = "GET|HEAD|OPTIONS"
SITE_TTL_S = (1, 86_400, 31_536_000)
"""Minimum, default and maximum of the managed policy CachingOptimized, as of the guide of 2023-06-15:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html"""
ERROR_TTL_S = 10
"""Error caching minimum TTL when none is set, as of the guide of 2023-06-15:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html"""
NOT_CACHED = "%CEL(response.code >= 400 ? 'Error from cloudfront' : 'Miss from cloudfront')%"
HSTS = "strict-transport-security"
"""Set on AWS, withheld here: a browser would refuse ``http://`` on every port of localhost from then on."""
BACKOFF = {"base_interval": "0.025s", "max_interval": "0.05s"}
"""Pause between attempts. AWS names none; this keeps a refused connection cheap."""


@dataclass(frozen=True, slots=True)
class _Target:
    """One origin of the API: cluster, Host header, and the region it leads to where that is fixed."""

    cluster: str
    hostname: str
    region: str | None


def viewer(edge: Edge, state: State) -> Json:
    """The route table of the viewer listeners."""
    return _table("viewer", [*_redirects(edge), *_behaviours(edge, state)]) | {
        "response_headers_to_add": list(_viewer_headers(edge)),
        "response_headers_to_remove": [HSTS],
        "request_headers_to_remove": ["x-envoy-external-address"],
    }


def origin(edge: Edge, state: State) -> Json:
    """The route table of the listener that the cache fetches from: the bucket, else the primary origin."""
    wanted = [{"name": ORIGIN_HEADER, "string_match": {"exact": origins.BUCKET}}]
    bucket = {
        "match": {"prefix": "/", "headers": wanted},
        "route": {"cluster": origins.BUCKET, "timeout": "0s"},
    }
    return _table("origin", [*([bucket] if edge.bucket_dir else []), *_to_api(edge, state, {"prefix": "/"})])


def secondary(edge: Edge, state: State) -> Json:
    """The route table of the listener that stands for the second origin of the group."""
    second = edge.secondary
    if second is None:
        return _table("secondary", [])
    target = _Target(origins.SECONDARY, second.hostname, second.region)
    return _table("secondary", list(_to_api(edge, state, {"prefix": "/"}, target)))


def path_match(pattern: str) -> Json:
    """Envoy's matcher for a CloudFront path pattern (``*`` any characters, ``?`` exactly one, case-sensitive)."""
    full = pattern if pattern.startswith(("/", "*")) else f"/{pattern}"
    if full == "*":
        return {"prefix": "/"}
    if not re.search(r"[*?]", full):
        return {"path": full}
    if not re.search(r"[*?]", full[:-1]) and full.endswith("*"):
        return {"prefix": full[:-1]}
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in full)
    return {"safe_regex": {"regex": "".join(parts)}}


def _table(name: str, routes: list[Json]) -> Json:
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=name,
        virtual_hosts=[{"name": name, "domains": ["*"], "routes": routes}],
    )


def _redirects(edge: Edge) -> Iterator[Json]:
    for redirect in edge.function.redirects if edge.function else ():
        # Envoy's redirect knows five statuses and builds its own Location; a direct answer takes any of both.
        yield {
            "match": {"path": redirect.source},
            "direct_response": {"status": redirect.status},
            "response_headers_to_add": [errors.overwrite("location", redirect.target)],
        }


def _behaviours(edge: Edge, state: State) -> Iterator[Json]:
    for behaviour in edge.settings.behaviors:
        match = path_match(behaviour.path)
        if behaviour.cache:
            yield from _cached(edge, state, behaviour, match)
        else:
            yield from _to_api(edge, state, match)
    for pattern in edge.settings.api_paths if edge.bucket_dir else ("*",):
        yield from _to_api(edge, state, path_match(pattern))
    if edge.bucket_dir:
        yield from _site(edge, state)


def _cached(edge: Edge, state: State, behaviour: CacheBehavior, match: Json) -> Iterator[Json]:
    """Reads go through the cache; writes go to the API, or are refused where the origin is an origin group."""
    policy = _policy(
        state,
        ttl_s=(behaviour.min_ttl_s, behaviour.default_ttl_s, behaviour.max_ttl_s),
        origin="group" if edge.secondary else origins.API,
    )
    policy |= {"query": _selection(behaviour.query), "cookies": _selection(behaviour.cookies)}
    policy |= {"headers": [name.lower() for name in behaviour.headers], "compress": edge.settings.compress}
    policy["ttl"] += "none" if behaviour.cookies == "none" else "kept"
    yield _through_cache({**match, **_methods(READS if edge.secondary else GET_HEAD)}, policy)
    if edge.secondary:
        yield _not_allowed(match)
    else:
        yield from _to_api(edge, state, match)


def _site(edge: Edge, state: State) -> Iterator[Json]:
    """The client's files, with the managed policy CachingOptimized; a root object stands for ``/``."""
    policy = _policy(state, ttl_s=SITE_TTL_S, origin=origins.BUCKET) | {"query": "none", "cookies": "none"}
    policy |= {"headers": [], "compress": edge.settings.compress}
    policy["ttl"] += "none"
    reads = _methods(GET_HEAD)
    root = _through_cache({"path": "/", **reads}, policy)
    root["route"]["prefix_rewrite"] = f"/{edge.settings.default_root_object}"
    yield root
    if edge.function and edge.function.index_rewrite:
        folder = _through_cache({"safe_regex": {"regex": ".*/"}, **reads}, policy)
        folder["route"]["regex_rewrite"] = {"pattern": {"regex": "/$"}, "substitution": "/index.html"}
        yield folder
    yield _through_cache({"prefix": "/", **reads}, policy)
    yield _not_allowed({"prefix": "/"})


def _policy(state: State, *, ttl_s: tuple[int, int, int], origin: str) -> Json:
    ttl = ",".join(map(str, (*ttl_s, ERROR_TTL_S)))
    return {"generation": str(state.generation), "origin": origin, "ttl": f"{ttl},"}


def _selection(chosen: tuple[str, ...] | str) -> list[str] | str:
    return chosen if isinstance(chosen, str) else list(chosen)


def _through_cache(match: Json, policy: Json) -> Json:
    lua = typed("envoy.extensions.filters.http.lua.v3.LuaPerRoute", filter_context=policy)
    return {
        "match": match,
        # Only reads come here; nginx may have been restarted under a connection that is still in the pool.
        "route": {
            "cluster": origins.STORE,
            "timeout": "0s",
            "retry_policy": {"retry_on": "connect-failure,reset", "num_retries": 2},
        },
        "typed_per_filter_config": {KEY_FILTER: lua},
    }


def _not_allowed(match: Json) -> Json:
    return {
        "match": match,
        "direct_response": {"status": 403, "body": {"inline_string": errors.page(403, errors.NOT_ALLOWED)}},
        "response_headers_to_add": [
            errors.overwrite("x-cache", errors.ERROR),
            errors.overwrite("server", "CloudFront"),
            errors.overwrite("content-type", "text/html"),
        ],
    }


def _to_api(edge: Edge, state: State, match: Json, target: _Target | None = None) -> Iterator[Json]:
    """Any method is tried again while nothing was sent; GET and HEAD also when no answer came."""
    to = target or _Target(origins.API, edge.api_hostname, state.answering)
    for methods, retry_on in ((GET_HEAD, "connect-failure,reset"), (None, "connect-failure")):
        route: Json = {
            "match": {**match, **_methods(methods)},
            "route": {
                "cluster": to.cluster,
                "host_rewrite_literal": to.hostname,
                "timeout": "0s",
                "retry_policy": _retry(edge, retry_on),
            },
            "response_headers_to_add": [errors.overwrite("x-cache", NOT_CACHED)],
        }
        struck = _fault(edge, state, to.region)
        if struck:
            route["typed_per_filter_config"] = {FAULT_FILTER: faults.http_fault(struck)}
        yield route


def _methods(pattern: str | None) -> Json:
    if pattern is None:
        return {}
    return {"headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": pattern}}}]}


def _retry(edge: Edge, retry_on: str) -> Json:
    """Another address each time; ``read_timeout_s`` runs from the last byte seen, as CloudFront counts it."""
    previous = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": retry_on,
        "num_retries": edge.retry.connect_attempts - 1,
        "per_try_idle_timeout": duration(edge.cdn.behaviour.request_timeout_s or 30),
        "retry_back_off": BACKOFF,
        "retry_host_predicate": [extension("envoy.retry_host_predicates.previous_hosts", previous)],
        "host_selection_retry_max_attempts": 5,
    }


def _fault(edge: Edge, state: State, region: str | None) -> faults.Fault | None:
    """What strikes the way to ``region``: a cut before anything milder."""
    if region not in state.cut_regions:
        return state.fault
    if state.refuses:
        return faults.Fault(abort_pct=100, abort_status=502)
    waits_s = edge.retry.connect_attempts * (edge.cdn.behaviour.connect_timeout_s or 10)
    return faults.Fault(abort_pct=100, abort_status=504, delay_pct=100, delay_s=waits_s)


def _viewer_headers(edge: Edge) -> Iterator[Json]:
    yield errors.overwrite("x-amz-cf-id", "%REQ(X-AMZ-CF-ID)%")
    if edge.settings.http3:
        yield errors.overwrite("alt-svc", f'h3=":{edge.https_port}"; ma=86400')
    wanted = edge.function.response_headers if edge.function else {}
    for name, value in wanted.items():
        if name.lower() != HSTS:
            yield errors.overwrite(name, value.replace("%", "%%"))
