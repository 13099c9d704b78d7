"""Sends one request through every door of a running system, and says what may differ on the way and why."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from brotlicffi import decompress as unbrotli
from tests.live.system_rig import Running

GATEWAY_ADDS = {
    "x-amzn-requestid": "API Gateway: one for each request",
}
EDGE_ADDS = {
    "via": "CloudFront names itself",
    "x-cache": "CloudFront: hit, miss or error",
    "x-amz-cf-id": "CloudFront: one for each request",
    "alt-svc": "the offer of HTTP/3",
    "x-content-type-options": "default header of the edge function",
    "x-frame-options": "default header of the edge function",
    "referrer-policy": "default header of the edge function",
}
"""Response headers that the way adds, and who it is. None may be missing, changed or doubled besides."""

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}
"""They belong to one connection (RFC 9110, 7.6.1), so each hop has its own."""

TIME = {"date"}
"""The program's own clock, read at another moment."""

GATEWAY_CHANGES = {
    "x-forwarded-for": "appended: the address of the caller",
    "x-forwarded-port": "appended: the port of the gateway",
    "x-forwarded-proto": "set: how the gateway was called",
    "expect": "answered with 100 Continue by the stand-in itself",
    "x-envoy-max-retries": "x-envoy-* would steer the stand-in; no such header exists on AWS",
}
EDGE_CHANGES = {
    **GATEWAY_CHANGES,
    "host": "CloudFront asks the origin by the origin's name",
    "via": "CloudFront names itself",
    "x-amz-cf-id": "CloudFront: one for each request",
    "x-real-ip": "CloudFront drops it",
    "x-edge-own": "CloudFront drops X-Edge-*",
    "x-hf-own": "x-hf-* is how the parts of the edge talk to each other; no such header exists on AWS",
}
"""Request headers that a program sees otherwise than the client sent them."""


@dataclass(frozen=True)
class Ask:
    """One request. ``chunked`` sends the body without saying how long it is."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    chunked: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path[:60]}" + "".join(f" {name}" for name, _ in self.headers[:3])


@dataclass(frozen=True)
class Got:
    """One answer; header names are in lower case, order and repetitions as they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def without(self, *names: str) -> Counter[tuple[str, str]]:
        return Counter(pair for pair in self.headers if pair[0] not in names)


@dataclass(frozen=True)
class Door:
    """Where a request enters: a name for messages, an address, and what the way from there may add."""

    name: str
    url: str
    adds: frozenset[str] = frozenset()
    http2: bool = False

    def ask(self, ask: Ask, host: str) -> Got:
        return _by_curl(self.url, ask, host) if self.http2 else _by_http_1(self.url, ask, host)


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connect(url: str) -> http.client.HTTPConnection:
    place = urlsplit(url)
    if place.scheme == "https":
        return http.client.HTTPSConnection(place.netloc, timeout=20, context=_trusting())
    return http.client.HTTPConnection(place.netloc, timeout=20)


def _by_http_1(url: str, ask: Ask, host: str) -> Got:
    connection = connect(url)
    connection.putrequest(ask.method, ask.path, skip_host=True, skip_accept_encoding=True)
    for name, value in (("host", host), *_framing(ask), *ask.headers):
        connection.putheader(name, value)
    connection.endheaders()
    for part in _parts(ask):
        connection.send(part)
    answer = connection.getresponse()
    headers = tuple((name.lower(), value) for name, value in answer.getheaders())
    got = Got(answer.status, headers, answer.read())
    connection.close()
    return got


def _framing(ask: Ask) -> Iterator[tuple[str, str]]:
    if ask.chunked:
        yield "transfer-encoding", "chunked"
    elif ask.body is not None:
        yield "content-length", str(len(ask.body))


def _parts(ask: Ask) -> Iterator[bytes]:
    body = ask.body or b""
    if not ask.chunked:
        yield body
        return
    for start in range(0, len(body), 1000):
        part = body[start : start + 1000]
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def _by_curl(url: str, ask: Ask, host: str) -> Got:
    """HTTP/2, as curl speaks it; names are sent in lower case there."""
    with tempfile.TemporaryDirectory() as folder:
        head, body, data = (Path(folder, name) for name in ("head", "body", "data"))
        body.touch()
        command = [
            "curl",
            "-ksg",
            "--http2",
            "--path-as-is",
            *(["--head"] if ask.method == "HEAD" else ["-X", ask.method]),
            "-D",
            head,
            "-o",
            body,
        ]
        for name in ("accept", "user-agent", "content-type", "expect"):
            command += ["-H", f"{name}:"] if name not in dict(ask.headers) else []
        for name, value in (("host", host), *ask.headers):
            command += ["-H", f"{name}: {value}" if value else f"{name};"]
        if ask.body is not None:
            data.write_bytes(ask.body)
            command += ["--data-binary", f"@{data}"]
        done = subprocess.run([*map(str, command), url.rstrip("/") + ask.path], check=False, timeout=20)
        # A server may answer in full before it has read the body, and then reset the stream without an error (RFC
        # 9113, 8.1); curl exits 92 for that when the reset overtakes the end of its body.
        assert done.returncode in ((0,) if ask.body is None else (0, 92)), done
        blocks = head.read_bytes().decode("latin-1").strip().split("\r\n\r\n")
        first, *lines = blocks[-1].split("\r\n")
        assert first.startswith("HTTP/2"), first
        headers = tuple((name.lower(), value) for name, _, value in (line.partition(": ") for line in lines))
        text = b"" if ask.method == "HEAD" else body.read_bytes()
        return Got(int(first.split()[1]), headers, text)


def _speaks_http_2() -> bool:
    if shutil.which("curl") is None:
        return False
    return "HTTP2" in subprocess.run(["curl", "-V"], capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Doors:
    """Every way into one system. ``host`` is the Host header of all requests, since the edge sends that one."""

    direct: Door
    ways: tuple[Door, ...]
    host: str

    def ask_directly(self, ask: Ask) -> Got:
        return self.direct.ask(ask, self.host)

    def ask_everywhere(self, ask: Ask) -> Got:
        """Send ``ask`` through every door, see that the answers are equal, and return the direct one."""
        expected = self.ask_directly(ask)
        for door in self.ways:
            if not (door.http2 and ask.chunked):
                got = door.ask(ask, self.host)
                assert essence(got, door.adds) == essence(expected, door.adds), door.name
                added = {name for name, _ in got.headers} - {name for name, _ in expected.headers}
                assert added - HOP_BY_HOP == door.adds, door.name
        return expected


def doors(system: Running) -> Doors:
    """The direct way to one replica, and every other way."""
    address = next(node["address"] for node in system.nodes() if node["healthy"])
    gateway = next(iter(system.urls["gateways"].values()))
    gate, edge = frozenset(GATEWAY_ADDS), frozenset({**GATEWAY_ADDS, **EDGE_ADDS})
    ways = [
        Door("gateway", gateway, gate),
        Door("edge", system.urls["edge_http"], edge),
        Door("edge, TLS", system.urls["edge"], edge),
    ]
    if _speaks_http_2():
        ways.append(Door("edge, HTTP/2", system.urls["edge"], edge, http2=True))
    return Doors(Door("direct", f"http://{address}"), tuple(ways), system.urls["api_name"])


def essence(got: Got, adds: frozenset[str]) -> tuple[int, Counter[tuple[str, str]], object]:
    """Status, headers and body without what may differ; an echo of the request is as long as its headers."""
    echo = echoed(got)
    ignored = {*adds, *HOP_BY_HOP, *TIME, *(["content-length"] if echo else [])}
    return got.status, got.without(*ignored), [_unchanged(row) for row in echo] or _timeless(got)


def echoed(got: Got) -> list[dict[str, Any]]:
    """What the program says it was asked, if the body is that: one JSON object, or one a line."""
    text = _decoded(got)
    if got.header("content-type") != "application/json" or b'"headers"' not in text:
        return []
    return [json.loads(row) for row in (text.splitlines() if text.startswith(b'{"') else [text])]


def _timeless(got: Got) -> bytes:
    """The body; gzip writes the time into bytes 4 to 7 of its header (RFC 1952)."""
    gzipped = got.header("content-encoding") == "gzip"
    return got.body[:4] + got.body[8:] if gzipped else got.body


def _decoded(got: Got) -> bytes:
    match got.header("content-encoding"):
        case "gzip":
            return zlib.decompress(got.body, 31)
        case "deflate":
            return zlib.decompress(got.body)
        case "br":
            return bytes(unbrotli(got.body))
        case _:
            return got.body


def _unchanged(row: dict[str, Any]) -> dict[str, Any]:
    headers = {k: v for k, v in row["headers"].items() if k.lower() not in EDGE_CHANGES}
    return {**row, "headers": headers, "origin": None}
