"""HTTP to Lambda event and back: the REST API's proxy integration, payload format 1.0.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl

from holdfast.local.functions.config import ACCOUNT, FunctionConfig

HeaderList = list[tuple[bytes, bytes]]
Json = dict[str, Any]

REMAPPED = frozenset({b"connection", b"date", b"server", b"upgrade", b"www-authenticate"})
"""Response headers that come out as ``x-amzn-Remapped-<name>``.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html"""

OURS = frozenset({b"content-length", b"transfer-encoding", b"keep-alive"})
"""Response headers that belong to the connection to the caller."""

_ANONYMOUS: Json = dict.fromkeys((
    "accessKey", "accountId", "apiKey", "caller", "principalOrgId", "user", "userArn", "cognitoIdentityId",
    "cognitoAuthenticationProvider", "cognitoAuthenticationType", "cognitoIdentityPoolId",
))  # fmt: skip


class Malformed(Exception):
    """The function's answer is not in the output format of a proxy integration."""


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request as it came. ``target`` is the raw path and query; header names keep their case."""

    method: str
    target: bytes
    headers: HeaderList
    body: bytes
    peer: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: HeaderList
    body: bytes


def to_event(call: Call, function: FunctionConfig, now: float) -> Json:
    """The event for ``call``; ``now`` is Unix time in seconds.

    As on AWS the path stays percent-encoded, the query's names and values are decoded, and the single-value
    maps hold the last value of a name.
    """
    raw_path, _, raw_query = call.target.decode("latin-1").partition("?")
    names = _multi((n.decode("latin-1"), v.decode("latin-1")) for n, v in call.headers)
    query = _multi(parse_qsl(raw_query, keep_blank_values=True)) if raw_query else None
    lower = {name.lower(): values[-1] for name, values in names.items()}
    body, encoded = _body(call.body, lower.get("content-type", ""), function.binary_media_types)
    proxy = raw_path.lstrip("/")
    return {
        "resource": "/{proxy+}" if proxy else "/",
        "path": raw_path,
        "httpMethod": call.method,
        "headers": _last(names),
        "multiValueHeaders": names,
        "queryStringParameters": _last(query) if query else None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": {"proxy": proxy} if proxy else None,
        "stageVariables": None,
        "requestContext": _context(call, lower, function, now),
        "body": body,
        "isBase64Encoded": encoded,
    }


def _context(call: Call, headers: dict[str, str], function: FunctionConfig, now: float) -> Json:
    path = call.target.decode("latin-1").partition("?")[0]
    forwarded = headers.get("x-forwarded-for", "").split(",")[0].strip()
    host = headers.get("host", "")
    return {
        "accountId": ACCOUNT,
        "apiId": function.name,
        "domainName": host,
        "domainPrefix": host.partition(".")[0],
        "extendedRequestId": headers.get("x-amz-apigw-id", ""),
        "httpMethod": call.method,
        "identity": _ANONYMOUS | {"sourceIp": forwarded or call.peer, "userAgent": headers.get("user-agent")},
        "path": f"/{function.stage}{path}",
        "protocol": "HTTP/1.1",
        "requestId": headers.get("x-amzn-requestid") or headers.get("x-request-id") or str(uuid.uuid4()),
        "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        "requestTimeEpoch": int(now * 1000),
        "resourceId": "proxy",
        "resourcePath": "/{proxy+}" if path.lstrip("/") else "/",
        "stage": function.stage,
    }


def _multi(pairs: Any) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _last(values: dict[str, list[str]]) -> dict[str, str]:
    return {name: every[-1] for name, every in values.items()}


def _is_binary(media_type: str, binary: tuple[str, ...]) -> bool:
    bare = media_type.partition(";")[0].strip().lower()
    return any(pattern == "*/*" or fnmatchcase(bare, pattern) for pattern in binary)


def _body(body: bytes, content_type: str, binary: tuple[str, ...]) -> tuple[str | None, bool]:
    """Body and ``isBase64Encoded``. Bytes of a type not declared binary are read as text and may suffer."""
    if not body:
        return None, False
    if _is_binary(content_type, binary):
        return base64.b64encode(body).decode("ascii"), True
    return body.decode("utf-8", "replace"), False


def to_reply(answer: bytes, accept: str, binary: tuple[str, ...]) -> Reply:
    """The HTTP answer a function's JSON stands for. ``accept`` is the caller's Accept header.

    Raises:
        Malformed: not the documented output format; API Gateway answers 502.
    """
    try:
        fields = json.loads(answer)
    except ValueError as error:
        raise Malformed("the function's answer is not JSON") from error
    if not isinstance(fields, dict):
        raise Malformed("the function's answer is not an object")
    headers = _headers(fields.get("headers"), fields.get("multiValueHeaders"))
    status, body = _status(fields.get("statusCode")), _payload(fields, accept, binary)
    if body and not any(name.lower() == b"content-type" for name, _ in headers):
        headers.append((b"content-type", b"application/json"))
    return Reply(status, headers, body)


def _status(value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal() or not 200 <= int(text) <= 599:
        raise Malformed(f"statusCode is {value!r}, not a number from 200 to 599")
    return int(text)


def _payload(fields: Json, accept: str, binary: tuple[str, ...]) -> bytes:
    body = fields.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise Malformed(f"body is {type(body).__name__}, not a string")
    # The first media type of Accept decides whether base64 is decoded on the way out.
    if fields.get("isBase64Encoded") is True and _is_binary(accept.partition(",")[0], binary):
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Malformed("body is not base64") from error
    return body.encode("utf-8", "surrogatepass")


def _headers(single: Any, multi: Any) -> HeaderList:
    """Both header maps as one list; a pair that is in both counts once."""
    pairs: list[tuple[str, Any]] = []
    for name, values in _items(multi, "multiValueHeaders"):
        if not isinstance(values, list):
            raise Malformed(f"multiValueHeaders[{name!r}] is not a list")
        pairs += [(name, value) for value in values]
    seen = {(name.lower(), str(value)) for name, value in pairs}
    pairs += [p for p in _items(single, "headers") if (p[0].lower(), str(p[1])) not in seen]
    return [header for name, value in pairs for header in _header(name, value)]


def _items(value: Any, field: str) -> Any:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise Malformed(f"{field} is not an object")
    return value.items()


def _header(name: str, value: Any) -> HeaderList:
    if isinstance(value, dict | list):
        raise Malformed(f"header {name!r} is not a string")
    text = str(value).lower() if isinstance(value, bool) else str(value if value is not None else "")
    try:
        pair = name.encode("ascii"), text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Malformed(f"header {name!r} has a character HTTP does not allow") from error
    if not name or any(c in name for c in "\r\n: ") or any(c in text for c in "\r\n\0"):
        raise Malformed(f"header {name!r} has a character HTTP does not allow")
    low = pair[0].lower()
    if low in OURS:
        return []
    return [(b"x-amzn-Remapped-" + pair[0] if low in REMAPPED else pair[0], pair[1])]
