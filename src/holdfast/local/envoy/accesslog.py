"""One line of JSON a request, as an API stage or a balancer writes it.

Fields are few because every one is formatted on the request's own core; see ``bench/zone_filters.py``.
"""

from __future__ import annotations

from holdfast.local.envoy.xds import Json, extension

FIELDS = {
    "time": "%START_TIME(%s.%3f)%",
    "requestId": "%RESP(X-AMZN-REQUESTID)%",
    "ip": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "httpMethod": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "latency_ms": "%DURATION%",
    "flags": "%RESPONSE_FLAGS%",
    "target": "%UPSTREAM_HOST%",
}
"""Field -> Envoy operator. ``flags`` is Envoy's reason for its own answers; ``target`` is ``host:port``."""


def to_file(path: str) -> Json:
    """An access logger for all requests but probes; ``path`` may be relative to Envoy's working directory."""
    file = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
    logger = extension("envoy.access_loggers.file", file, path=path, log_format={"json_format": FIELDS})
    return {**logger, "filter": {"not_health_check_filter": {}}}
