"""The target group: an Envoy cluster that balances and checks as an Application Load Balancer does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.local.envoy.routes import CLUSTER, IN_SUBSET, REGISTERED
from holdfast.local.envoy.rules import Rules
from holdfast.local.envoy.xds import Json, duration, extension, from_file, typed
from holdfast.model import HealthCheck

ENDPOINTS_FILE = "xds/endpoints.json"
NO_LIMIT = 2**31 - 1
"""Envoy's circuit breakers open at 1,024 requests by default; a load balancer has no such limit."""
FAIL_OPEN_BELOW_PCT = 1
CHECKER = {
    "header": {"key": "user-agent", "value": "ELB-HealthChecker/2.0"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}


@dataclass(frozen=True, slots=True)
class Target:
    """One registered target. ``draining``: being deregistered, it finishes its requests, gets no new ones."""

    node: str
    zone: str
    host: str
    port: int
    draining: bool = False
    weight: int = 1


def assignment(targets: Sequence[Target]) -> Json:
    """The ``ClusterLoadAssignment`` of these targets. A node's id travels as the endpoint's host name."""
    return typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=CLUSTER,
        endpoints=[{"lb_endpoints": [_endpoint(target) for target in targets]}],
    )


def _endpoint(target: Target) -> Json:
    return {
        "endpoint": {
            "hostname": target.node,
            "address": {"socket_address": {"address": target.host, "port_value": target.port}},
            # As a balancer does: a probe's Host header is the target's own address.
            "health_check_config": {"hostname": f"{target.host}:{target.port}"},
        },
        "load_balancing_weight": target.weight,
        "health_status": "DRAINING" if target.draining else "UNKNOWN",
        "metadata": {"filter_metadata": {} if target.draining else IN_SUBSET},
    }


def cluster(rules: Rules) -> Json:
    """The cluster in front of the targets. It never retries and never ejects: only health checks decide."""
    config = typed(
        "envoy.config.cluster.v3.Cluster",
        name=CLUSTER,
        type="EDS",
        eds_cluster_config={"eds_config": from_file(ENDPOINTS_FILE)},
        load_balancing_policy=_policy(_registered_only(rules)),
        common_lb_config={
            "healthy_panic_threshold": {"value": FAIL_OPEN_BELOW_PCT if rules.fail_open else 0},
            "update_merge_window": "0s",
        },
        ignore_health_on_host_removal=True,
        circuit_breakers={"thresholds": [_unlimited()]},
    )
    if rules.connect_timeout_s is not None:
        config["connect_timeout"] = duration(rules.connect_timeout_s)
    if rules.idle_timeout_s is not None:
        config["typed_extension_protocol_options"] = _keep_alive(rules.idle_timeout_s)
    if rules.health is not None:
        config["health_checks"] = [_health_check(rules.health)]
    return config


def _keep_alive(idle_timeout_s: float) -> Json:
    """HTTP/1.1 to the targets; an idle connection to one is kept as long as a client's."""
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    idle = {"idle_timeout": duration(idle_timeout_s)}
    http_1: Json = {"http_protocol_options": {}}
    return {name: typed(name, common_http_protocol_options=idle, explicit_http_config=http_1)}


def _policy(policy: Json) -> Json:
    return {"policies": [{"typed_extension_config": policy}]}


def _registered_only(rules: Rules) -> Json:
    """Round robin over the subset of targets that are not draining, which also bounds what fails open.

    Envoy's own DRAINING would do but for one case: with every other target unhealthy, its panic mode would send
    new requests to the draining ones as well.
    """
    return extension(
        "envoy.load_balancing_policies.subset",
        "envoy.extensions.load_balancing_policies.subset.v3.Subset",
        fallback_policy="NO_FALLBACK",
        subset_selectors=[{"keys": [REGISTERED], "fallback_policy": "NO_FALLBACK"}],
        subset_lb_policy=_policy(_round_robin(rules)),
    )


def _round_robin(rules: Rules) -> Json:
    name = "envoy.load_balancing_policies.round_robin"
    config = extension(name, "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin")
    if rules.slow_start_s > 0:
        config["typed_config"]["slow_start_config"] = {"slow_start_window": duration(rules.slow_start_s)}
    return config


def _unlimited() -> Json:
    limits = ("max_connections", "max_pending_requests", "max_requests")
    return {"priority": "DEFAULT", **dict.fromkeys(limits, NO_LIMIT)}


def _health_check(check: HealthCheck) -> Json:
    interval = duration(check.interval_s)
    return {
        "timeout": duration(check.timeout_s),
        "interval": interval,
        "no_traffic_interval": interval,
        "unhealthy_threshold": check.unhealthy_threshold,
        "healthy_threshold": check.healthy_threshold,
        "reuse_connection": False,
        "http_health_check": {
            "path": check.path,
            "request_headers_to_add": [CHECKER],
            # Without this a wrong status counts as unhealthy at once, whatever the threshold says.
            "retriable_statuses": [{"start": 100, "end": 600}],
        },
    }
