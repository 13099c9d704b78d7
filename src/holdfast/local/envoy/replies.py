"""What a client reads when the proxy itself answers: the bodies of API Gateway and of a load balancer.

Only answers that Envoy makes up pass here; an application's own 4xx and 5xx are never touched. A failure that
the balancer would notice has the balancer's HTML body even behind a gateway, because a gateway hands on what
its integration answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.local.envoy.rules import Rules
from holdfast.local.envoy.xds import Json, extension

UPSTREAM_FAILED = ("UF", "UC", "UR", "LR", "UPE")
"""Envoy's response flags for a target that refused, reset or broke the protocol."""
NO_TARGET = ("UH", "NC")
SERVED_BY = {
    "header": {"key": "server", "value": "awselb/2.0"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One made-up answer: sent for the flags (any of them), or else the status, that Envoy came to."""

    status: int
    body: str
    content_type: str
    on_flags: tuple[str, ...] = ()
    on_status: int | None = None
    on_details: str | None = None

    def mapper(self) -> Json:
        """The entry of ``local_reply_config.mappers``; the first entry that matches wins."""
        mapper: Json = {
            "filter": self._filter(),
            "status_code": self.status,
            "body_format_override": _text(self.body, self.content_type),
        }
        if self.content_type == "text/html":
            mapper["headers_to_add"] = [SERVED_BY]
        return mapper

    def _filter(self) -> Json:
        if self.on_details:
            expression = f"response.code_details.contains('{self.on_details}')"
            cel = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
            return {"extension_filter": extension("cel", cel, expression=expression)}
        if self.on_flags:
            return {"response_flag_filter": {"flags": list(self.on_flags)}}
        value = {"default_value": self.on_status, "runtime_key": f"holdfast.reply.{self.on_status}"}
        return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def local_replies(rules: Rules) -> Json:
    """Envoy's ``local_reply_config`` for this chain."""
    message = {"json_format": {"message": "%LOCAL_REPLY_BODY%"}}
    return {
        "mappers": [reply.mapper() for reply in _replies(rules)],
        "body_format": message if rules.gateway else _text(*_html("%RESPONSE_CODE%")),
    }


def _replies(rules: Rules) -> Iterator[Reply]:
    if rules.gateway:
        yield from _gateway_limits()
    yield from _balancer_failures() if rules.balancer else _integration_failures()
    if not rules.gateway:
        yield from _balancer_limits()


def _gateway_limits() -> Iterator[Reply]:
    """Gateway responses THROTTLED, REQUEST_TOO_LARGE and INTEGRATION_TIMEOUT of a REST API, byte for byte."""
    yield Reply(429, '{"message":"Too Many Requests"}', "application/json", on_status=429)
    yield Reply(413, '{"message":"Request Too Long"}', "application/json", on_status=413)
    yield Reply(504, '{"message": "Endpoint request timed out"}', "application/json", on_flags=("UT",))


def _integration_failures() -> Iterator[Reply]:
    """INTEGRATION_FAILURE: a gateway without a balancer could not talk to its integration."""
    body = '{"message": "Network error communicating with endpoint"}'
    yield Reply(504, body, "application/json", on_flags=UPSTREAM_FAILED + NO_TARGET)
    yield Reply(504, '{"message": "Endpoint request timed out"}', "application/json", on_status=504)


def _balancer_failures() -> Iterator[Reply]:
    yield _page(504, on_details="connection_timeout")
    yield _page(502, on_flags=UPSTREAM_FAILED)
    yield _page(503, on_flags=NO_TARGET)
    yield _page(504, on_status=504)


def _balancer_limits() -> Iterator[Reply]:
    for status in (400, 408, 413, 502, 503):
        yield _page(status, on_status=status)
    yield _page(400, on_status=431)


TITLES = {
    400: "400 Bad Request",
    408: "408 Request Time-out",
    413: "413 Request Entity Too Large",
    502: "502 Bad Gateway",
    503: "503 Service Temporarily Unavailable",
    504: "504 Gateway Time-out",
}


def _page(status: int, **when: Any) -> Reply:
    body, content_type = _html(TITLES[status])
    return Reply(status, body, content_type, **when)


def _html(title: str) -> tuple[str, str]:
    lines = (
        "<html>",
        f"<head><title>{title}</title></head>",
        "<body>",
        f"<center><h1>{title}</h1></center>",
        "</body>",
        "</html>",
    )
    return "".join(f"{line}\r\n" for line in lines), "text/html"


def _text(body: str, content_type: str) -> Json:
    return {"text_format_source": {"inline_string": body}, "content_type": content_type}
