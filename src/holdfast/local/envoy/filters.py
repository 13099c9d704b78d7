"""The listener of one zone's proxy: what a connection and a request pass on their way to the target group.

::

    client ─► HTTP connection manager ─► [probe] ─► [fault] ─► throttle ─► payload limit ─► router ─► target
                     │                     only on routes that name them
                     └─ access log, replies in AWS's words
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.local.envoy import accesslog, replies, routes
from holdfast.local.envoy.rules import Rules
from holdfast.local.envoy.xds import Json, extension, from_file, typed
from holdfast.model import RateLimit

HTTP = "envoy.extensions.filters.http"
ROUTES_FILE = "xds/routes.json"
ALWAYS = {"default_value": {"numerator": 100}}
"""Envoy's throttle is off, silently, unless it is enabled and enforced for 100 % of the requests."""
ANY_TARGET_PCT = 1
"""Envoy compares whole percents, so one healthy target is enough among up to a hundred."""
NOBODY = {"address_prefix": "255.255.255.255", "prefix_len": 32}
"""Envoy takes an empty list of internal networks for its own default, which holds all of 127.0.0.0/8."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a proxy listens and logs."""

    host: str
    port: int
    access_log: str


def listener(door: Door, rules: Rules) -> Json:
    """The listener: HTTP/1.1 and HTTP/2 with prior knowledge on one port."""
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        **_identity(),
        **_limits(rules),
        **_protocol(door, rules),
        rds={"route_config_name": routes.TABLE, "config_source": from_file(ROUTES_FILE)},
        http_filters=list(http_filters(rules)),
        local_reply_config=replies.local_replies(rules),
        access_log=[accesslog.to_file(door.access_log)],
    )
    return typed(
        "envoy.config.listener.v3.Listener",
        name="zone",
        address={"socket_address": {"address": door.host, "port_value": door.port}},
        filter_chains=[{"filters": [manager]}],
    )


def _identity() -> Json:
    """Who the client is, and that its path and the application's headers are left as they are."""
    return {
        "stat_prefix": "zone",
        "codec_type": "AUTO",
        "use_remote_address": True,
        # Loopback is no trusted network here: a client must not steer Envoy by x-envoy-* headers.
        "internal_address_config": {"cidr_ranges": [NOBODY]},
        # Envoy would append the machine's own address for a client on loopback; the route appends the peer's.
        "skip_xff_append": True,
        "append_x_forwarded_port": True,
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        # X-Request-Id is the client's and the application's own; neither a stage nor a balancer touches it.
        "generate_request_id": False,
    }


def _limits(rules: Rules) -> Json:
    if rules.max_header_bytes is None:
        return {}
    return {"max_request_headers_kb": math.ceil(rules.max_header_bytes / 1024)}


def _protocol(door: Door, rules: Rules) -> Json:
    """A balancer hands WebSockets on; a REST API drops every Upgrade header and answers the plain request."""
    if rules.gateway:
        return {"http_protocol_options": {"ignore_http_11_upgrade": [{"safe_regex": {"regex": ".*"}}]}}
    http_1 = {
        "accept_http_10": True,
        "default_host_for_http_10": f"{door.host}:{door.port}",
        "ignore_http_11_upgrade": [{"prefix": "TLS/"}],
    }
    return {
        "http_protocol_options": http_1,
        # The edge speaks HTTP/2 to its origin, where a WebSocket is an extended CONNECT (RFC 8441).
        "http2_protocol_options": {"allow_connect": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }


def http_filters(rules: Rules) -> Iterator[Json]:
    """The HTTP filters in request order; a filter without a number to enforce is not in the chain at all."""
    yield {**_probe(), "disabled": True}
    yield {**extension(routes.FAULT_FILTER, f"{HTTP}.fault.v3.HTTPFault"), "disabled": True}
    if rules.throttle is not None:
        yield throttle(rules.throttle)
    if rules.max_payload_bytes is not None:
        limit = rules.max_payload_bytes
        yield extension("payload", f"{HTTP}.body_size_limit.v3.BodySizeLimit", max_request_bytes=limit)
    yield extension(
        "envoy.filters.http.router",
        f"{HTTP}.router.v3.Router",
        suppress_envoy_headers=True,
        dynamic_stats=False,
    )


def _probe() -> Json:
    """200 while at least one target is healthy, else 503."""
    return extension(
        routes.PROBE_FILTER,
        f"{HTTP}.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": routes.HEALTH_PATH}}],
        cluster_min_healthy_percentages={routes.CLUSTER: {"value": ANY_TARGET_PCT}},
    )


def throttle(limit: RateLimit) -> Json:
    """The stage's token bucket; ``local_cluster_rate_limit`` gives each proxy of the region its share."""
    fill = max(1, math.ceil(limit.rate))
    return extension(
        "throttle",
        f"{HTTP}.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="throttle",
        filter_enabled=ALWAYS,
        filter_enforced=ALWAYS,
        token_bucket={
            "max_tokens": limit.burst,
            "tokens_per_fill": fill,
            "fill_interval": f"{fill / limit.rate:.9f}s",
        },
        local_cluster_rate_limit={},
    )
