"""The route table of one zone's proxy: the health probe, the user's API, and the faults a drill injects.

A filter that is off costs an allocation and four virtual calls a request, so the fault and the probe filters
stand in the chain ``disabled`` and only a route that names them creates them. A fault is therefore a new
route table: in force within milliseconds for new requests, and no connection is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.local.dns.prober import AGENT
from holdfast.local.envoy.rules import Rules
from holdfast.local.envoy.xds import Json, duration, typed

TABLE = "zone"
CLUSTER = "targets"
REGISTERED = "registered"
IN_SUBSET = {"envoy.lb": {REGISTERED: True}}
FAULT_FILTER = "fault"
PROBE_FILTER = "probe"
HEALTH_PATH = "/_hf/health"
"""Only a health checker's request to this path is a probe; for everybody else it belongs to the user's API."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a drill does to requests of one proxy. Shares are percent of requests, each drawn on its own."""

    abort_pct: float = 0.0
    abort_status: int = 503
    delay_pct: float = 0.0
    delay_s: float = 0.0


def table(rules: Rules, fault: Fault | None = None) -> Json:
    """The ``RouteConfiguration`` for these rules, with ``fault`` in force."""
    peer = _header("x-forwarded-for", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%")
    api = [_probe_route(), _api_route(rules, fault)]
    config: Json = typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=TABLE,
        virtual_hosts=[{"name": "api", "domains": ["*"], "routes": api}],
        request_headers_to_add=[peer],
        request_headers_to_remove=["x-envoy-external-address"],
    )
    if rules.gateway:
        request_id = _header("x-amzn-requestid", "%UNIQUE_ID%", "OVERWRITE_IF_EXISTS_OR_ADD")
        config["response_headers_to_add"] = [request_id]
    return config


def _header(name: str, value: str, action: str = "APPEND_IF_EXISTS_OR_ADD") -> Json:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _probe_route() -> Json:
    match = {"path": HEALTH_PATH, "headers": [{"name": "user-agent", "string_match": {"prefix": AGENT}}]}
    switched_on = typed("envoy.config.route.v3.FilterConfig", config={})
    return {
        "match": match,
        "direct_response": {"status": 503},
        "typed_per_filter_config": {PROBE_FILTER: switched_on},
    }


def _api_route(rules: Rules, fault: Fault | None) -> Json:
    action: Json = {
        "cluster": CLUSTER,
        "metadata_match": {"filter_metadata": IN_SUBSET},
        "timeout": duration(rules.request_timeout_s or 0),
    }
    if rules.idle_timeout_s is not None:
        action["idle_timeout"] = duration(rules.idle_timeout_s)
    route: Json = {"match": {"prefix": "/"}, "route": action}
    if fault is not None:
        route["typed_per_filter_config"] = {FAULT_FILTER: http_fault(fault)}
    return route


def http_fault(fault: Fault) -> Json:
    """Envoy's fault filter for ``fault``; a share of 0 leaves that half out."""
    config = typed("envoy.extensions.filters.http.fault.v3.HTTPFault")
    if fault.abort_pct > 0:
        config["abort"] = {"http_status": fault.abort_status, "percentage": _share(fault.abort_pct)}
    if fault.delay_pct > 0 and fault.delay_s > 0:
        config["delay"] = {"fixed_delay": duration(fault.delay_s), "percentage": _share(fault.delay_pct)}
    return config


def _share(percent: float) -> Json:
    return {"numerator": round(percent * 10_000), "denominator": "MILLION"}
