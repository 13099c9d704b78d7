"""The edge answers as CloudFront and S3 document it. Real Envoy, nginx, DNS and sockets.

``CF`` stands for https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent
from tests.live.edge_rig import API, EDGE_HOST, NOBODY, Call, Rig, ip, running
from tests.live.zone_rig import eventually, http, scenario

from holdfast.local.envoy import edge, nginx
from holdfast.local.envoy.edge import State, origins
from holdfast.local.envoy.routes import Fault

pytestmark = pytest.mark.live

MISS, HIT, ERROR = "Miss from cloudfront", "Hit from cloudfront", "Error from cloudfront"
REFRESH = "RefreshHit from cloudfront"
FIRST, SECOND = "127.78.1.", "127.78.2."
CACHED = {"behaviors": [{"path": "/api/c/*"}]}
ALONE = CACHED | {"origin_failover": False}


def result(got: Any) -> str:
    return str(got.headers["x-cache"])


def said(body: bytes = b"ok", *headers: str, status: int = 200) -> Any:
    return lambda call: http(status, body, *headers)


def counting(*headers: str) -> Any:
    """An app whose answers are numbered, so that a kept one can be told from a new one."""
    numbers = iter(range(1, 10_000))
    return lambda call: http(200, str(next(numbers)).encode(), *headers)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("site $x")
    files = {"index.html": "<h1>shop</h1>", "docs/index.html": "docs", "app.js": "let x = 1;\n" * 500}
    files |= {"logo.svg": "<svg/>", ".git/config": "secret", ".well-known/security.txt": "mail"}
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "escape.txt").symlink_to("/etc/hostname")
    return str(folder)


# --- the viewer's side


@scenario
async def test_https_speaks_h2_and_refuses_tls_1_1() -> None:
    """CF/secure-connections-supported-viewer-protocols-ciphers.html"""
    async with running() as rig:
        url = f"https://{EDGE_HOST}:{rig.edge.https_port}/orders"
        async with rig.client.get(url, ssl=rig.tls) as answer:
            assert (answer.status, answer.headers["x-cache"]) == (200, MISS)
            assert answer.headers["alt-svc"] == f'h3=":{rig.edge.https_port}"; ma=86400'
        rig.tls.set_alpn_protocols(["h2", "http/1.1"])
        assert (await _handshake(rig, rig.tls)).selected_alpn_protocol() == "h2"
        old = ssl.create_default_context(cafile=str(rig.folder / "certs/ca.pem"))
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match=r"TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            await _handshake(rig, old)


async def _handshake(rig: Rig, context: ssl.SSLContext) -> ssl.SSLObject:
    _, writer = await asyncio.open_connection(EDGE_HOST, rig.edge.https_port, ssl=context)
    connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.close()
    return connection


class H3Client(QuicConnectionProtocol):
    """Just enough of an HTTP/3 client for one GET."""

    async def get(self, authority: str, path: str) -> tuple[dict[bytes, bytes], bytes]:
        self._http = H3Connection(self._quic)
        self._headers: dict[bytes, bytes] = {}
        self._body = b""
        self._done = asyncio.get_running_loop().create_future()
        pseudo = {":method": "GET", ":scheme": "https", ":authority": authority, ":path": path}
        headers = [(name.encode(), value.encode()) for name, value in pseudo.items()]
        self._http.send_headers(self._quic.get_next_available_stream_id(), headers, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self._done, 5)
        return self._headers, self._body

    def quic_event_received(self, event: QuicEvent) -> None:
        for answer in self._http.handle_event(event) if hasattr(self, "_http") else ():
            self._take(answer)

    def _take(self, answer: H3Event) -> None:
        if isinstance(answer, HeadersReceived):
            self._headers.update(answer.headers)
        if isinstance(answer, DataReceived):
            self._body += answer.data
        if isinstance(answer, HeadersReceived | DataReceived) and answer.stream_ended:
            self._done.set_result(None)


@scenario
async def test_http_3_answers_on_the_https_port() -> None:
    """CF/DownloadDistValuesGeneral.html (supported HTTP versions)"""
    async with running() as rig:
        quic = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="www.orders.test")
        quic.load_verify_locations(str(rig.folder / "certs/ca.pem"))
        port = rig.edge.https_port
        async with connect(EDGE_HOST, port, configuration=quic, create_protocol=H3Client) as client:
            assert isinstance(client, H3Client)
            headers, body = await client.get("www.orders.test", "/orders")
        assert (headers[b":status"], headers[b"x-cache"]) == (b"200", MISS.encode())
        assert body.decode().startswith(FIRST)


@scenario
async def test_the_origin_sees_what_cloudfront_would_send() -> None:
    """CF/RequestAndResponseBehaviorCustomOrigin.html and the policy AllViewerExceptHostHeader"""
    async with running() as rig:
        spoofed = {"x-hf-key": "1", "x-edge-x": "1", "x-real-ip": "8.8.8.8", "x-envoy-retry-on": "5xx"}
        spoofed |= {"x-amz-cf-id": "forged", "proxy-authorization": "secret"}
        sent = {"x-forwarded-for": "203.0.113.7", "authorization": "Bearer t", "cookie": "a=1"}
        got = await rig.get("/orders?a=1", headers=spoofed | sent)
        (call,) = rig.app.calls
        assert call.path == "/orders?a=1"
        assert call.seen.header("host") == API
        assert (call.seen.header("x-forwarded-for") or "").replace(" ", "") == "203.0.113.7,127.0.0.1"
        assert call.seen.header("via") == "1.1 holdfast.cloudfront.net (CloudFront)" == got.headers["via"]
        assert call.seen.header("x-amz-cf-id") == got.headers["x-amz-cf-id"] != "forged"
        assert (call.seen.header("authorization"), call.seen.header("cookie")) == ("Bearer t", "a=1")
        names = {name for name, _ in call.seen.headers}
        assert names.isdisjoint(set(spoofed) - {"x-amz-cf-id"})
        assert not [name for name in names if name.startswith(("x-hf-", "x-envoy-"))]
        assert not [name for name in got.headers if name.lower().startswith(("x-hf-", "x-envoy-"))]


@scenario
async def test_a_request_over_20_480_bytes_is_too_large() -> None:
    """CF/RequestAndResponseBehaviorCustomOrigin.html#RequestCustomMaxRequestStringLength"""
    async with running() as rig:
        assert (await rig.get("/orders", headers={"x-large": "x" * 8000})).status == 200
        headers = {f"x-large-{n}": "x" * 8000 for n in range(3)}
        assert (await rig.get("/orders", headers=headers)).status == 413


@scenario
async def test_a_websocket_passes() -> None:
    """CF/distribution-working-with.websockets.html"""
    async with running() as rig:
        rig.app.answer = said(
            b"", "connection: upgrade", "upgrade: websocket", "sec-websocket-accept: x", status=101
        )
        reader, writer = await asyncio.open_connection(EDGE_HOST, rig.edge.http_port)
        lines = ("GET /live HTTP/1.1", "host: x", "connection: upgrade", "upgrade: websocket")
        keys = ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version: 13", "", "")
        writer.write("\r\n".join((*lines, *keys)).encode())
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 101")
        writer.close()


# --- the client's files


def test_the_site(site: str) -> None:
    """CF/DefaultRootObject.html, CF/private-content-restricting-access-to-s3.html"""

    async def test() -> None:
        async with running(site=site) as rig:
            root = await rig.get("/")
            assert (root.status, root.body, result(root)) == (200, b"<h1>shop</h1>", MISS)
            assert root.headers["content-type"] == "text/html"
            assert root.headers["server"] == "AmazonS3"
            again = await rig.get("/?utm=1", headers={"if-none-match": root.headers["etag"]})
            assert (again.status, result(again)) == (304, HIT)
            assert (await rig.get("/logo.svg")).headers["content-type"] == "image/svg+xml"
            assert (await rig.get("/.well-known/security.txt")).body == b"mail"
            part = await rig.get("/app.js", headers={"range": "bytes=0-3", "accept-encoding": "identity"})
            assert (part.status, part.body) == (206, b"let ")
            assert not rig.app.calls

    asyncio.run(test())


@pytest.mark.parametrize("path", ["/nope", "/docs/", "/docs", "/.git/config", "/escape.txt"])
def test_what_the_bucket_does_not_show_is_access_denied(site: str, path: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html: 403 without permission to list"""

    async def test() -> None:
        async with running(site=site) as rig:
            got = await rig.get(path)
            assert (got.status, result(got), got.headers["content-type"]) == (403, ERROR, "application/xml")
            assert b"<Code>AccessDenied</Code>" in got.body

    asyncio.run(test())


@pytest.mark.parametrize(
    "path", ["/../../etc/hostname", "/%2e%2e/etc/hostname", "/x/..%2f..%2f..%2fetc/hostname"]
)
def test_a_path_cannot_leave_the_bucket(site: str, path: str) -> None:
    """Keys of a bucket are no paths; whatever looks like one must not reach other files."""

    async def test() -> None:
        async with running(site=site) as rig:
            reader, writer = await asyncio.open_connection(EDGE_HOST, rig.edge.http_port)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))
            assert Path("/etc/hostname").read_bytes().strip() not in answer

    asyncio.run(test())


def test_a_write_to_the_site_is_not_allowed(site: str) -> None:
    """CF/http-403-permission-denied.html"""

    async def test() -> None:
        async with running(site=site) as rig:
            got = await rig.send("POST", "/index.html", data=b"x")
            assert (got.status, result(got)) == (403, ERROR)
            assert b"not configured to allow the HTTP request method" in got.body
            assert got.headers["content-type"] == "text/html"

    asyncio.run(test())


def test_spa_and_index_rewrite(site: str) -> None:
    """CF/example_cloudfront_functions_url_rewrite_single_page_apps_section.html"""

    async def test() -> None:
        async with running(site=site, settings={"spa": True}, function={"index_rewrite": True}) as rig:
            deep = await rig.get("/orders/42")
            assert (deep.status, deep.body) == (200, b"<h1>shop</h1>")
            assert (await rig.get("/docs/")).body == b"docs"
            assert (await rig.get("/.git/config")).status == 403

    asyncio.run(test())


def test_paths_choose_the_origin(site: str) -> None:
    """CF/DownloadDistValuesCacheBehavior.html#DownloadDistValuesPathPattern"""

    async def test() -> None:
        settings = {"api_paths": ["/api/*", "/v?/*.json", "health"]}
        async with running(site=site, settings=settings) as rig:
            for path in ("/api/orders", "/v1/a/b.json", "/health"):
                assert (await rig.get(path)).status == 200
            for path in ("/API/orders", "/v12/a.json", "/v1/a.jsonx", "/health/x"):
                assert (await rig.get(path)).status == 403
            assert rig.paths() == ["/api/orders", "/v1/a/b.json", "/health"]

    asyncio.run(test())


# --- the cache


@scenario
async def test_an_api_path_is_not_cached_unless_a_behaviour_says_so() -> None:
    """CF/using-managed-cache-policies.html (CachingDisabled)"""
    async with running(settings=CACHED) as rig:
        rig.app.answer = counting("cache-control: max-age=60")
        for path, results in (("/api/x", [MISS, MISS]), ("/api/c/x", [MISS, HIT])):
            assert [result(await rig.get(path)) for _ in range(2)] == results
        rig.app.answer = said(status=404)
        assert result(await rig.get("/api/x")) == ERROR


@scenario
async def test_a_hit_has_an_age_and_one_answer_for_all() -> None:
    """CF/Expiration.html"""
    async with running(settings=CACHED) as rig:
        rig.app.answer = counting("cache-control: max-age=60")
        first = await rig.get("/api/c/x")
        assert "age" not in first.headers

        async def aged() -> bool:
            got = await rig.get("/api/c/x")
            assert (got.body, result(got)) == (b"1", HIT)
            return int(got.headers["age"]) >= 1

        await eventually(aged)
        assert len(rig.app.calls) == 1


@scenario
async def test_the_cache_key_is_what_the_behaviour_names_and_nothing_else_is_forwarded() -> None:
    """CF/controlling-the-cache-key.html"""
    behaviour = {"path": "/api/c/*", "query": ["page"], "headers": ["X-Tenant"], "cookies": ["lang"]}
    async with running(settings={"behaviors": [behaviour]}) as rig:
        rig.app.answer = counting("set-cookie: seen=1")
        base: dict[str, Any] = {"headers": {"x-tenant": "a", "cookie": "lang=en; id=1", "authorization": "t"}}
        assert (await rig.get("/api/c/x?page=1&utm=1", **base)).body == b"1"
        assert (await rig.get("/api/c/x?utm=2&page=1", **base)).body == b"1"
        other = base | {"headers": base["headers"] | {"cookie": "id=2; lang=en", "authorization": "u"}}
        assert (await rig.get("/api/c/x?page=1", **other)).body == b"1"
        for change in ({"x-tenant": "b"}, {"cookie": "lang=de"}):
            got = await rig.get("/api/c/x?page=1", headers=base["headers"] | change)
            assert result(got) == MISS
        assert result(await rig.get("/api/c/x?page=2", **base)) == MISS
        first = rig.app.calls[0]
        assert first.path == "/api/c/x?page=1"
        assert (first.seen.header("x-tenant"), first.seen.header("cookie")) == ("a", "lang=en")
        assert first.seen.header("authorization") is None
        assert first.seen.header("user-agent") == "Amazon CloudFront"


@scenario
async def test_cookies_are_dropped_both_ways_when_no_cookie_is_in_the_key() -> None:
    """CF/Cookies.html"""
    async with running(settings=CACHED) as rig:
        rig.app.answer = counting("set-cookie: session=alice")
        got = await rig.get("/api/c/x", headers={"cookie": "session=bob"})
        assert "set-cookie" not in got.headers
        assert rig.app.calls[0].seen.header("cookie") is None
        assert result(await rig.get("/api/c/x", headers={"cookie": "session=eve"})) == HIT


@pytest.mark.parametrize(
    ("ttl_s", "header", "results"),
    [
        ((0, 60, 3600), None, [MISS, HIT]),
        ((0, 0, 3600), None, [MISS, MISS]),
        ((0, 60, 3600), "cache-control: max-age=0", [MISS, MISS]),
        ((0, 60, 3600), "cache-control: no-store", [MISS, MISS]),
        ((0, 60, 3600), "cache-control: private, max-age=60", [MISS, MISS]),
        ((60, 60, 3600), "cache-control: no-store", [MISS, HIT]),
        ((60, 60, 3600), "cache-control: max-age=0", [MISS, HIT]),
        ((0, 0, 0), "cache-control: max-age=60", [MISS, MISS]),
        ((0, 0, 3600), "cache-control: max-age=0, s-maxage=60", [MISS, HIT]),
        ((0, 0, 3600), "expires: Fri, 01 Jan 2100 00:00:00 GMT", [MISS, HIT]),
        ((0, 60, 3600), "expires: Sat, 01 Jan 2000 00:00:00 GMT", [MISS, MISS]),
        ((0, 60, 3600), "expires: 0", [MISS, MISS]),
        ((0, 60, 3600), "vary: *", [MISS, MISS]),
        ((0, 60, 3600), "vary: user-agent", [MISS, HIT]),
    ],
)
def test_lifetimes(ttl_s: tuple[int, int, int], header: str | None, results: list[str]) -> None:
    """CF/Expiration.html#ExpirationDownloadDist"""

    async def test() -> None:
        names = ("min_ttl_s", "default_ttl_s", "max_ttl_s")
        behaviour = {"path": "/api/c/*", **dict(zip(names, ttl_s, strict=True))}
        async with running(settings={"behaviors": [behaviour]}) as rig:
            rig.app.answer = counting(*([header] if header else []))
            assert [result(await rig.get("/api/c/x")) for _ in range(2)] == results

    asyncio.run(test())


@scenario
async def test_the_maximum_ends_a_long_life_and_the_origin_is_asked_whether_it_changed() -> None:
    """CF/RequestAndResponseBehaviorCustomOrigin.html#RequestCustomConditionalGETs"""
    behaviour = {"path": "/api/c/*", "default_ttl_s": 1, "max_ttl_s": 1}

    def answer(call: Call) -> bytes:
        headers = ('etag: "v1"', "cache-control: max-age=600")
        if call.seen.header("if-none-match") == '"v1"':
            return http(304, b"", *headers)
        return http(200, b"body", *headers)

    async with running(settings={"behaviors": [behaviour]}) as rig:
        rig.app.answer = answer
        results = []

        async def refreshed() -> bool:
            results.append(result(await rig.get("/api/c/x")))
            return results[-1] == REFRESH

        await eventually(refreshed)
        assert results[:2] == [MISS, HIT]
        assert result(await rig.get("/api/c/x")) == HIT


@pytest.mark.parametrize("failure", ["error", "nobody"])
def test_an_expired_answer_is_served_while_the_origin_fails(failure: str) -> None:
    """CF/HTTPStatusCodes.html#HTTPStatusCodes-no-custom-error-pages-in-cache"""

    async def test() -> None:
        behaviour = {"path": "/api/c/*", "default_ttl_s": 1, "max_ttl_s": 1}
        async with running(settings={"behaviors": [behaviour]}) as rig:
            assert (await rig.get("/api/c/x")).status == 200
            calls = len(rig.app.calls)
            if failure == "error":
                rig.app.answer = said(status=500)
            else:
                os.killpg(rig.processes.pop("fronts").pid, signal.SIGKILL)
            rig.app.calls.clear()

            async def stale() -> bool:
                got = await rig.get("/api/c/x")
                assert (got.status, result(got)) == (200, HIT)
                return int(got.headers["age"]) >= 3

            await eventually(stale)
            assert calls == 1
            assert bool(rig.app.calls) == (failure == "error")
            assert (await rig.get("/api/c/never-seen")).status in (500, 502)

    asyncio.run(test())


@scenario
async def test_errors_are_kept_for_ten_seconds_and_private_ones_only_when_told() -> None:
    """CF/HTTPStatusCodes.html#HTTPStatusCodes-cached-errors"""
    async with running(settings=CACHED) as rig:
        for status, header, calls in (
            (404, "x: y", 1),
            (403, "x: y", 2),
            (403, "cache-control: max-age=5", 1),
        ):
            rig.app.answer = said(b"", header, status=status)
            rig.app.calls.clear()
            for _ in range(2):
                got = await rig.get(f"/api/c/{status}{header[0]}")
                assert (got.status, result(got)) == (status, ERROR)
            assert len(rig.app.calls) == calls


@scenario
async def test_simultaneous_requests_are_one_request_to_the_origin() -> None:
    """CF/RequestAndResponseBehaviorCustomOrigin.html#request-custom-traffic-spikes"""
    async with running(settings=CACHED) as rig:
        release = asyncio.Event()

        async def slow(call: Call) -> bytes:
            await release.wait()
            return http(200, b"one")

        rig.app.answer = slow
        crowd = [asyncio.create_task(rig.get("/api/c/x")) for _ in range(20)]
        await eventually(lambda: _true(bool(rig.app.calls)))
        release.set()
        answers = await asyncio.gather(*crowd)
        assert {got.body for got in answers} == {b"one"}
        assert Counter(result(got) for got in answers) == {MISS: 1, HIT: 19}
        assert len(rig.app.calls) == 1


async def _true(value: bool) -> bool:
    return value


@scenario
async def test_answers_that_may_not_be_kept_do_not_queue() -> None:
    """CF/RequestAndResponseBehaviorCustomOrigin.html#request-custom-traffic-spikes"""
    async with running(settings=CACHED) as rig:
        rig.app.answer = said(b"mine", "cache-control: private")
        await rig.get("/api/c/x")
        rig.app.calls.clear()
        together = asyncio.Event()

        async def wait_for_all(call: Call) -> bytes:
            if len(rig.app.calls) == 10:
                together.set()
            await together.wait()
            return http(200, b"mine", "cache-control: private")

        rig.app.answer = wait_for_all
        crowd = asyncio.gather(*(rig.get("/api/c/x") for _ in range(10)))
        answers = await asyncio.wait_for(crowd, nginx.COLLAPSE_S - 1)
        assert {result(got) for got in answers} == {MISS}


@scenario
async def test_an_invalidation_empties_the_cache_and_a_restart_does_not() -> None:
    """CF/Invalidation.html"""
    async with running(settings=CACHED) as rig:
        rig.app.answer = counting()
        assert [(await rig.get("/api/c/x")).body for _ in range(2)] == [b"1", b"1"]
        os.killpg(rig.processes["nginx"].pid, signal.SIGKILL)
        await rig.processes["nginx"].wait()
        await rig.launch("nginx")
        await rig.until_up()
        assert (await rig.get("/api/c/x")).body == b"1"
        rig.update(edge.invalidated(State()))

        async def new() -> bool:
            return (await rig.get("/api/c/x")).body == b"2"

        await eventually(new)


@scenario
async def test_compression_is_for_what_is_cached() -> None:
    """CF/ServingCompressedFiles.html"""
    async with running(settings=CACHED) as rig:
        text = b"holdfast " * 500
        rig.app.answer = said(text, "content-type: application/json", 'etag: "v"')
        for accepted, encoding in (
            ("gzip, br", "br"),
            ("gzip", "gzip"),
            ("gzip;q=0, zstd", None),
            ("", None),
        ):
            for expected in (MISS, HIT):
                got = await rig.get("/api/c/x", headers={"accept-encoding": accepted})
                assert got.headers.get("content-encoding") == encoding
                assert result(got) == (expected if accepted else HIT)
        got = await rig.get("/api/c/x", headers={"accept-encoding": "deflate, gzip"})
        assert (gzip.decompress(got.body), got.headers["etag"]) == (text, 'W/"v"')
        assert rig.app.calls[0].seen.header("accept-encoding") == "br,gzip"
        plain = await rig.get("/api/x", headers={"accept-encoding": "gzip, br"})
        assert "content-encoding" not in plain.headers
        rig.app.answer = said(b"x" * 999, "content-type: application/json")
        small = await rig.get("/api/c/small", headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in small.headers


# --- origins that fail


@scenario
async def test_connecting_is_tried_again_at_another_address_whatever_the_method() -> None:
    """CF/DownloadDistValuesOrigin.html (connection attempts)"""
    dead = [NOBODY, "127.78.9.8"]
    async with running(records={API: ([*dead, ip(1, 1)], 60)}) as rig:
        for method in ("POST", "GET", "DELETE"):
            got = await rig.send(method, "/orders", data=b"once" if method == "POST" else None)
            assert (got.status, got.body) == (200, ip(1, 1).encode())
        assert [call.method for call in rig.app.calls] == ["POST", "GET", "DELETE"]
        assert rig.app.calls[0].seen.body == b"once"


@scenario
async def test_an_origin_that_refuses_is_502_after_the_attempts() -> None:
    """CF/http-502-bad-gateway.html"""
    async with running(settings={"connection_attempts": 2}, records={API: ([NOBODY], 60)}) as rig:
        got = await rig.send("POST", "/orders")
        assert (got.status, result(got), got.headers["server"]) == (502, ERROR, "CloudFront")
        assert got.headers["x-amz-cf-id"]
        assert b"ERROR: The request could not be satisfied" in got.body

        async def logged() -> bool:
            return [(line["attempts"], line["status"]) for line in await rig.log()] == [(2, 502)]

        await eventually(logged)


@contextmanager
def black_hole(address: str, port: int) -> Iterator[None]:
    """An address that drops new connections: its queue of accepted ones is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))
        yield


@scenario
async def test_an_origin_that_drops_connections_is_504_or_fails_over() -> None:
    """CF/high_availability_origin_failover.html#controlling-attempts-and-timeouts"""
    settings = CACHED | {"connection_timeout_s": 1, "connection_attempts": 2}
    async with running(settings=settings, records={API: (["127.78.9.7"], 60)}) as rig:
        with black_hole("127.78.9.7", rig.edge.origins[0].port):
            loop = asyncio.get_running_loop()
            start = loop.time()
            got = await rig.send("POST", "/orders")
            assert (got.status, result(got)) == (504, ERROR)
            assert loop.time() - start >= 2
            moved = await rig.get("/api/c/x")
            assert (moved.status, moved.body.decode()[: len(SECOND)]) == (200, SECOND)


@scenario
async def test_reads_of_a_cached_behaviour_move_to_the_other_region_and_writes_are_refused() -> None:
    """CF/high_availability_origin_failover.html; aws-cdk issue 32450 for the methods of an origin group"""
    async with running(settings=CACHED, records={API: ([NOBODY], 60)}) as rig:
        for method in ("GET", "HEAD", "OPTIONS"):
            assert (await rig.send(method, f"/api/c/{method}")).status == 200
        assert all(call.at.startswith(SECOND) for call in rig.app.calls)
        rig.app.calls.clear()
        assert (await rig.send("POST", "/api/c/x")).status == 403
        assert (await rig.get("/api/x")).status == 502
        assert not rig.app.calls


@scenario
async def test_an_error_status_fails_over_once_and_at_once() -> None:
    """CF/high_availability_origin_failover.html"""
    settings = CACHED | {"failover_statuses": [503]}
    async with running(settings=settings) as rig:
        rig.app.answer = lambda call: http(503 if call.at.startswith(FIRST) else 200, call.at.encode())
        assert (await rig.get("/api/c/a")).body.decode().startswith(SECOND)
        assert [call.at[: len(FIRST)] for call in rig.app.calls] == [FIRST, SECOND]
        rig.app.calls.clear()
        rig.app.answer = said(status=503)
        assert (await rig.get("/api/c/b")).status == 503
        rig.app.answer = said(status=500)
        assert (await rig.get("/api/c/c")).status == 500
        assert (await rig.get("/api/d")).status == 500
        assert [(c.path, c.at[: len(FIRST)]) for c in rig.app.calls] == [
            ("/api/c/b", FIRST),
            ("/api/c/b", SECOND),
            ("/api/c/c", FIRST),
            ("/api/d", FIRST),
        ]


@scenario
async def test_without_failover_a_cached_behaviour_takes_writes() -> None:
    """CF/DownloadDistValuesCacheBehavior.html#DownloadDistValuesAllowedHTTPMethods"""
    async with running(settings=ALONE) as rig:
        assert (await rig.send("POST", "/api/c/x", data=b"y")).body.decode().startswith(FIRST)
        rig.app.answer = said(status=503)
        assert (await rig.get("/api/c/z")).status == 503
        assert len(rig.app.calls) == 2


@scenario
async def test_a_slow_origin_is_504_and_only_reads_are_tried_again() -> None:
    """CF/RequestAndResponseBehaviorCustomOrigin.html#request-custom-request-timeout"""

    async def never(call: Call) -> bytes:
        await asyncio.sleep(60)
        return http(200)

    async with running(settings={"read_timeout_s": 1, "connection_attempts": 2}) as rig:
        rig.app.answer = never
        for method, calls in (("POST", 1), ("OPTIONS", 1), ("GET", 2)):
            rig.app.calls.clear()
            got = await rig.send(method, "/orders")
            assert (got.status, result(got), len(rig.app.calls)) == (504, ERROR, calls)


class Cutter:
    """An HTTP/2 origin that takes a request and then breaks the connection, as a process that is killed does."""

    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    HEADERS = 1

    def __init__(self) -> None:
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(self.PREFACE))
        writer.write(self.SETTINGS)
        kind = 0
        while kind != self.HEADERS:
            head = await reader.readexactly(9)
            kind = head[3]
            await reader.readexactly(int.from_bytes(head[:3]))
        self.requests += 1
        writer.transport.abort()


@scenario
async def test_a_write_is_never_sent_twice() -> None:
    """CF/RequestAndResponseBehaviorCustomOrigin.html#request-custom-request-timeout"""
    cutters = {f"127.78.8.{n}": Cutter() for n in (1, 2, 3)}
    async with running(records={API: (list(cutters), 60)}) as rig:
        port = rig.edge.origins[0].port
        servers = [await asyncio.start_server(c.serve, address, port) for address, c in cutters.items()]
        for method, requests in (("POST", 1), ("GET", 3)):
            got = await rig.send(method, "/orders", data=b"x" if method == "POST" else None)
            assert (got.status, result(got)) == (502, ERROR)
            assert sum(cutter.requests for cutter in cutters.values()) == requests
            for cutter in cutters.values():
                cutter.requests = 0
        for server in servers:
            server.close()


# --- DNS


@scenario
async def test_traffic_follows_the_name_when_its_time_to_live_ends() -> None:
    """https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover.html"""
    async with running(records={API: ([ip(1, 1)], 1)}) as rig:
        assert (await rig.get("/orders")).body.decode() == ip(1, 1)
        rig.point([ip(2, 2)], ttl_s=60)

        async def moved() -> bool:
            return (await rig.get("/orders")).body.decode() == ip(2, 2)

        await eventually(moved)
        asked = rig.names.asked[API]
        rig.point([ip(1, 1)])
        end = asyncio.get_running_loop().time() + 2 * origins.NO_ANSWER_REFRESH_S + 0.5

        async def kept() -> bool:
            assert (await rig.get("/orders")).body.decode() == ip(2, 2)
            return asyncio.get_running_loop().time() > end

        await eventually(kept)
        assert rig.names.asked[API] == asked


@scenario
async def test_a_name_without_address_is_502_until_it_has_one() -> None:
    """CF/http-502-bad-gateway.html"""
    async with running(records={API: ([], 60)}) as rig:
        got = await rig.get("/orders")
        assert (got.status, result(got)) == (502, ERROR)
        rig.point([ip(1, 1)])

        async def found() -> bool:
            return (await rig.get("/orders")).status == 200

        await eventually(found)


@scenario
async def test_a_dead_name_server_does_not_take_known_addresses_away() -> None:
    """https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/disaster-recovery-resiliency.html"""
    async with running(records={API: ([ip(1, 1)], 1)}) as rig:
        rig.names.stop()
        loop = asyncio.get_running_loop()
        end = loop.time() + 4

        async def long_after() -> bool:
            assert (await rig.get("/orders")).status == 200
            return loop.time() > end

        await eventually(long_after)


# --- the edge function, and what drills do


@scenario
async def test_the_edge_function_redirects_and_adds_headers() -> None:
    """CF/cloudfront-functions.html"""
    redirect = {"from": "/old", "to": "/new?x=1", "status": 308}
    function = {"redirects": [redirect], "response_headers": {"x-shop": "50% off"}}
    async with running(function=function) as rig:
        got = await rig.send("POST", "/old?y=2")
        assert (got.status, got.headers["location"], got.headers["x-shop"]) == (308, "/new?x=1", "50% off")
        assert not rig.app.calls
        rig.app.answer = said(b"", "x-shop: origin", status=500)
        answer = await rig.get("/orders")
        assert (answer.status, answer.headers.getall("x-shop")) == (500, ["50% off"])


@scenario
async def test_a_cut_region_is_unreachable_from_the_edge_until_healed() -> None:
    """A network partition between CloudFront and one region, as a drill makes it."""
    settings = CACHED | {"connection_timeout_s": 1, "connection_attempts": 1}
    async with running(settings=settings) as rig:
        whole = State(answering="eu-west-1")
        for cut, status in ((replace(whole, cut_regions=frozenset({"eu-west-1"}), refuses=True), 502),):
            rig.update(cut)

            async def struck(status: int = status) -> bool:
                return (await rig.send("POST", "/orders")).status == status

            await eventually(struck)
            assert (await rig.get("/api/c/cut")).body.decode().startswith(SECOND)
        rig.update(replace(whole, cut_regions=frozenset({"eu-west-1"})))

        async def timed_out() -> bool:
            return (await rig.send("POST", "/orders")).status == 504

        await eventually(timed_out)
        rig.update(replace(whole, cut_regions=frozenset({"us-east-1"})))

        async def healed() -> bool:
            return (await rig.send("POST", "/orders")).status == 200

        await eventually(healed)


@scenario
async def test_a_fault_strikes_a_share_of_the_requests() -> None:
    """Chaos between the edge and the API."""
    async with running() as rig:
        rig.update(State(fault=Fault(abort_pct=50, abort_status=503)))
        seen: Counter[int] = Counter()

        async def both() -> bool:
            seen[(await rig.get("/orders")).status] += 1
            return seen[200] > 20 and seen[503] > 20

        await eventually(both)


@scenario
async def test_nothing_is_wrong_with_the_configuration() -> None:
    """Neither program warns about what it was given, and a second Envoy start finds no leftovers in its way."""
    async with running(settings=CACHED, function={}) as rig:
        os.killpg(rig.processes["envoy"].pid, signal.SIGKILL)
        await rig.processes["envoy"].wait()
        await rig.launch("envoy")
        await rig.until_up()
        assert (await rig.get("/api/c/x")).status == 200
        log = (rig.folder / "envoy.log").read_text().splitlines()
        assert [line for line in log if "active downstream connections" not in line] == []
        assert (rig.folder / "nginx.log").read_text() == ""


def test_no_file_or_socket_is_outside_of_the_run_folder(tmp_path: Path, site: str) -> None:
    """A run must leave nothing behind when its folder is deleted."""

    async def test() -> None:
        async with running(site=site) as rig:
            await rig.get("/")
            for name in ("envoy", "nginx"):
                targets = {os.readlink(f) for f in Path(f"/proc/{rig.processes[name].pid}/fd").iterdir()}
                files = {t for t in targets if t.startswith("/") and not t.startswith(("/dev/", "/proc/"))}
                assert files
                assert {f for f in files if not f.startswith((str(rig.folder), site))} == set()

    asyncio.run(test())


@scenario
async def test_https_and_http_answer_alike() -> None:
    """Both ports serve; on AWS the viewer protocol policy would redirect (a difference that is listed)."""
    async with running() as rig:
        async with aiohttp.ClientSession() as client:
            url = f"https://{EDGE_HOST}:{rig.edge.https_port}/orders"
            async with client.get(url, ssl=rig.tls) as answer:
                secure = await answer.read()
        assert secure.decode().startswith(FIRST)
        assert (await rig.get("/orders")).body.decode().startswith(FIRST)
        assert [c.seen.header("x-forwarded-proto") for c in rig.app.calls] == ["https", "http"]
