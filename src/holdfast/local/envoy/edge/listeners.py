"""Where viewers connect, and where the cache connects to reach an origin.

::

    viewer ─ http, https, quic ─► [fault] ─► [key.lua] ─► router ─► API
                                                             └────► nginx (store.sock)
    nginx ─ origin.sock ────────► [fault] ─► ttl.lua ─► br, gzip ─► router ─► API, bucket
          └ secondary.sock ─────► the same, to the second origin of the group

Filters in brackets are off unless a route names them, so the way to the API pays for none of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import resources

from holdfast.local.envoy.edge import errors, routes
from holdfast.local.envoy.edge.model import Edge
from holdfast.local.envoy.nginx import ORIGIN_SOCKET, SECONDARY_SOCKET
from holdfast.local.envoy.xds import Json, extension, from_file

HTTP = "envoy.extensions.filters.http"
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TLS = "envoy.extensions.transport_sockets"
TABLES = {"viewer": "xds/viewer.json", "origin": "xds/origin.json", "secondary": "xds/secondary.json"}
VIA = "1.1 holdfast.cloudfront.net (CloudFront)"
NEVER_FORWARDED = ("proxy-authenticate", "proxy-authorization", "x-http-method-override", "x-real-ip")
"""https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html"""
COMPRESSED_MIN_BYTES = 1000
COMPRESSED_STATUSES = (200, 403, 404)
COMPRESSED_TYPES = (
    r"application/(dash\+xml|eot|font|font-sfnt|javascript|json|opentype|otf|pkcs7-mime|protobuf|rss\+xml)",
    r"application/(truetype|ttf|vnd\.apple\.mpegurl|vnd\.mapbox-vector-tile|vnd\.ms-fontobject|xhtml\+xml)",
    r"application/(xml|x-font-opentype|x-font-truetype|x-font-ttf|x-httpd-cgi|x-javascript|x-mpegurl)",
    r"application/(x-opentype|x-otf|x-perl|x-ttf)",
    r"font/(eot|opentype|otf|ttf)",
    r"image/svg\+xml",
    r"text/(css|csv|html|javascript|js|plain|richtext|tab-separated-values|xml|x-component|x-java-source|x-script)",
    r"vnd\.apple\.mpegurl",
)
"""What CloudFront compresses, as of the guide of 2023-06-15:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/ServingCompressedFiles.html"""
LOG_FIELDS = {
    "time": "%START_TIME(%s.%3f)%",
    "requestId": "%REQ(X-AMZ-CF-ID)%",
    "ip": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "httpMethod": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "status": "%RESPONSE_CODE%",
    "latency_ms": "%DURATION%",
    "result": "%RESP(X-CACHE)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "flags": "%RESPONSE_FLAGS%",
    "target": "%UPSTREAM_HOST%",
}
"""Names as in a zone's access log; ``result`` is CloudFront's ``x-edge-result-type`` in the words of ``x-cache``."""


def listeners(edge: Edge) -> Iterator[Json]:
    """Every listener of the edge."""
    yield _listener("http", _tcp(edge.host, edge.http_port), {"filters": [_viewer(edge)]})
    yield _listener(
        "https",
        _tcp(edge.host, edge.https_port),
        {"transport_socket": _tls(edge), "filters": [_viewer(edge)]},
    )
    if edge.settings.http3:
        yield _quic(edge)
    if edge.bucket_dir or edge.cached:
        yield _listener("origin", {"pipe": {"path": ORIGIN_SOCKET}}, {"filters": [_fetch(edge, "origin")]})
    if edge.secondary and edge.cached:
        chain = {"filters": [_fetch(edge, "secondary")]}
        yield _listener("secondary", {"pipe": {"path": SECONDARY_SOCKET}}, chain)


def lua_files() -> dict[str, str]:
    """The Lua programs that the filters load, by their place in the run folder."""
    folder = resources.files("holdfast.local.envoy.edge") / "lua"
    return {f"lua/{name}": (folder / name).read_text(encoding="utf-8") for name in ("key.lua", "ttl.lua")}


def _listener(name: str, address: Json, chain: Json) -> Json:
    return {"name": name, "address": address, "filter_chains": [chain]}


def _tcp(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _certificates(edge: Edge, *alpn: str) -> Json:
    pair = {"certificate_chain": {"filename": edge.certificate}, "private_key": {"filename": edge.key}}
    return {
        "alpn_protocols": list(alpn),
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [pair],
    }


def _tls(edge: Edge) -> Json:
    context = _certificates(edge, "h2", "http/1.1")
    return extension("tls", f"{TLS}.tls.v3.DownstreamTlsContext", common_tls_context=context)


def _quic(edge: Edge) -> Json:
    context = {"common_tls_context": _certificates(edge, "h3")}
    socket = extension("quic", f"{TLS}.quic.v3.QuicDownstreamTransport", downstream_tls_context=context)
    address = _tcp(edge.host, edge.https_port)
    address["socket_address"]["protocol"] = "UDP"
    manager = _viewer(edge, codec_type="HTTP3", http3_protocol_options={})
    listener = _listener("quic", address, {"transport_socket": socket, "filters": [manager]})
    return listener | {
        "udp_listener_config": {"quic_options": {}, "downstream_socket_config": {"prefer_gro": True}}
    }


def _manager(stat_prefix: str, table: str, **fields: object) -> Json:
    return extension(
        "envoy.filters.network.http_connection_manager",
        MANAGER,
        stat_prefix=stat_prefix,
        rds={"route_config_name": table, "config_source": from_file(TABLES[table])},
        generate_request_id=False,
        stream_idle_timeout="0s",
        server_header_transformation="PASS_THROUGH",
        local_reply_config=errors.local_replies(),
        internal_address_config={"unix_sockets": False},
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        **fields,
    )


def _viewer(edge: Edge, **codec: object) -> Json:
    largest = edge.cdn.behaviour.max_header_bytes
    limit = {"max_request_headers_kb": math.ceil(largest / 1024)} if largest else {}
    return _manager(
        "viewer",
        "viewer",
        use_remote_address=True,
        # Envoy would append the machine's own address for a client on loopback.
        skip_xff_append=True,
        via=VIA,
        early_header_mutation_extensions=[_viewer_headers()],
        http_filters=[_off(_fault()), _off(_lua(routes.KEY_FILTER, "lua/key.lua")), _router()],
        access_log=[_log(edge.access_log)],
        **limit,
        **_upgrades(edge),
        **codec,
    )


def _upgrades(edge: Edge) -> Json:
    """To an API Gateway an upgrade travels as the plain request that the gateway would make of it.

    As an HTTP/2 CONNECT it would be a protocol error there, and end the connection for everybody on it.
    """
    if edge.websockets:
        return {"upgrade_configs": [{"upgrade_type": "websocket"}]}
    return {"http_protocol_options": {"ignore_http_11_upgrade": [{"safe_regex": {"regex": ".*"}}]}}


def _fetch(edge: Edge, table: str) -> Json:
    compressors = [_compressor("br", "brotli", "Brotli"), _compressor("gzip", "gzip", "Gzip")]
    filters = [_off(_fault()), *(compressors if edge.settings.compress else []), _lua("ttl", "lua/ttl.lua")]
    return _manager(table, table, use_remote_address=False, http_filters=[*filters, _router()])


def _viewer_headers() -> Json:
    """Request headers that CloudFront drops or sets before anything else looks at the request."""
    prefixes = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in ("x-hf-", "x-edge-")]
    removed = [{"remove": name} for name in NEVER_FORWARDED]
    client = {
        "header": {"key": "x-forwarded-for", "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}
    }
    added = [{"append": errors.overwrite("x-amz-cf-id", "%UNIQUE_ID%")}, {"append": client}]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[*prefixes, *removed, *added],
    )


def _off(filter_config: Json) -> Json:
    return filter_config | {"disabled": True}


def _fault() -> Json:
    return extension(routes.FAULT_FILTER, f"{HTTP}.fault.v3.HTTPFault")


def _lua(name: str, file: str) -> Json:
    return extension(
        name, f"{HTTP}.lua.v3.Lua", default_source_code={"filename": file}, clear_route_cache=False
    )


def _router() -> Json:
    return extension("envoy.filters.http.router", f"{HTTP}.router.v3.Router", suppress_envoy_headers=True)


def _compressor(name: str, package: str, message: str) -> Json:
    library = extension(name, f"envoy.extensions.compression.{package}.compressor.v3.{message}")
    types = {"safe_regex": {"regex": f"({'|'.join(COMPRESSED_TYPES)})( *;.*)?"}}
    common = {"min_content_length": COMPRESSED_MIN_BYTES, "content_type_matcher": types}
    other = [status for status in range(200, 600) if status not in COMPRESSED_STATUSES]
    return extension(
        name,
        f"{HTTP}.compressor.v3.Compressor",
        compressor_library=library,
        choose_first=name == "br",
        response_direction_config={
            "common_config": common,
            "uncompressible_response_codes": other,
            "weaken_etag_on_compress": True,
        },
    )


def _log(path: str) -> Json:
    return extension(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path=path,
        log_format={"json_format": LOG_FIELDS},
    )
