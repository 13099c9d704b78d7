"""Where the edge fetches from: the API by name, the bucket and the cache over Unix sockets."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.local.envoy.edge.model import Edge
from holdfast.local.envoy.nginx import BUCKET_SOCKET, STORE_SOCKET
from holdfast.local.envoy.xds import Json, duration, extension, typed

API, SECONDARY, STORE, BUCKET = "api", "secondary", "store", "bucket"
NO_LIMIT = 2**31 - 1
"""CloudFront has no limit on connections to an origin; Envoy's circuit breakers open at 1,024 by default."""
NO_ANSWER_REFRESH_S = 1.0
"""How soon a name without an address is asked for again; addresses are kept for the TTL of their record."""


def clusters(edge: Edge) -> Iterator[Json]:
    """Every cluster of the edge."""
    port = edge.origins[0].port
    yield _named(edge, API, (edge.api_hostname, port))
    if edge.secondary:
        yield _named(edge, SECONDARY, (edge.secondary.hostname, edge.secondary.port))
    if edge.bucket_dir or edge.cached:
        yield _local(STORE, STORE_SOCKET)
    if edge.bucket_dir:
        yield _local(BUCKET, BUCKET_SOCKET)


def _named(edge: Edge, name: str, origin: tuple[str, int]) -> Json:
    """An origin looked up in DNS. Its addresses are used as they come and dropped when they leave the answer."""
    behaviour = edge.cdn.behaviour
    # The final dot keeps the resolver from /etc/hosts, where people put the names they rehearse with.
    address = {"address": f"{origin[0].rstrip('.')}.", "port_value": origin[1]}
    return {
        "name": name,
        "cluster_type": _by_name(edge.dns),
        "connect_timeout": duration(behaviour.connect_timeout_s or 10),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "circuit_breakers": {"thresholds": [_unlimited()]},
        "typed_extension_protocol_options": _http2(edge),
        "load_assignment": _assignment(name, {"socket_address": address}),
    }


def _by_name(dns: tuple[str, int]) -> Json:
    refresh = duration(NO_ANSWER_REFRESH_S)
    return extension(
        "envoy.cluster.dns",
        "envoy.extensions.clusters.dns.v3.DnsCluster",
        dns_lookup_family="V4_ONLY",
        respect_dns_ttl=True,
        all_addresses_in_single_endpoint=False,
        dns_refresh_rate=refresh,
        dns_jitter="0s",
        dns_failure_refresh_rate={"base_interval": refresh, "max_interval": refresh},
        typed_dns_resolver_config=_resolver(dns),
    )


def _resolver(dns: tuple[str, int]) -> Json:
    return extension(
        "envoy.network.dns_resolver.cares",
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        resolvers=[{"socket_address": {"address": dns[0], "port_value": dns[1], "protocol": "UDP"}}],
        use_resolvers_as_fallback=False,
        dns_resolver_options={"no_default_search_domain": True},
        query_timeout_seconds=1,
        query_tries=2,
    )


def _http2(edge: Edge) -> Json:
    """Origins speak HTTP/2 without TLS here. A ping finds a dead connection; CloudFront would by read timeout."""
    behaviour = edge.cdn.behaviour
    wait = duration((behaviour.request_timeout_s or 30) / 2)
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = typed(
        name,
        common_http_protocol_options={"idle_timeout": duration(behaviour.idle_timeout_s or 5)},
        explicit_http_config={
            "http2_protocol_options": {"connection_keepalive": {"interval": wait, "timeout": wait}}
        },
    )
    return {name: options}


def _local(name: str, socket: str) -> Json:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [_unlimited()]},
        "load_assignment": _assignment(name, {"pipe": {"path": socket}}),
    }


def _assignment(name: str, address: Json) -> Json:
    endpoint = {"endpoint": {"address": address}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


def _unlimited() -> Json:
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"priority": "DEFAULT", **dict.fromkeys(limits, NO_LIMIT)}
