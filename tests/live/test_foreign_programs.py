"""Programs that we did not write run unmodified: what they answer through the stand-ins is what they answer directly.

One WSGI program (httpbin) and one ASGI program (ASGIWebDAV), by import string and as a command. Every request goes
to a replica's own address, to a gateway, and to the edge over HTTP/1.1, TLS and HTTP/2. What may differ is listed in
``foreign_rig``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
from tests.live.foreign_rig import (
    EDGE_CHANGES,
    GATEWAY_CHANGES,
    Ask,
    Door,
    Doors,
    connect,
    doors,
    echoed,
)
from tests.live.system_rig import up

pytestmark = pytest.mark.live

# ---------------------------------------------------------------------------------------------- WSGI


@pytest.fixture(scope="module")
def httpbin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("httpbin")
    (folder / "holdfast.toml").write_text(manifest("httpbin", 'app = "httpbin:app"', "/status/200"))
    with up(folder, "--speed", "30") as running:
        yield doors(running)


def manifest(name: str, program: str, health: str) -> str:
    return f"""
[service]
name = "{name}"
{program}
health = "{health}"
env = {{ PYTHONHASHSEED = "0" }}  # Flask puts a set into Allow; every replica must order it alike
[regions]
names = ["eu-west-1"]
zones = 2
[compute]
replicas = {{ min = 2, max = 4 }}
"""


NOISE = Random(7).randbytes(100_000)
FORM = ("content-type", "application/x-www-form-urlencoded")
STATUSES = (200, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308)
ERRORS = (400, 401, 402, 403, 404, 405, 406, 409, 410, 415, 418, 422, 429, 451, 500, 501, 502, 503, 504, 505)

ASKS = (
    *(Ask(method, "/anything/a") for method in ("GET", "DELETE")),
    *(Ask(method, "/anything/a", body=b"") for method in ("POST", "PUT", "PATCH")),
    *(
        Ask(method, "/anything", (FORM,), b"a=1&a=2&b=%2F+%C3%BC")
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ),
    *(Ask("OPTIONS", path) for path in ("/anything", "/get", "/status/200")),
    *(Ask("HEAD", path) for path in ("/bytes/1000?seed=1", "/html", "/status/404", "/image/png")),
    *(Ask("GET", f"/status/{status}") for status in (*STATUSES, *ERRORS)),
    *(Ask("POST", f"/status/{status}", body=b"x") for status in (201, 204, 307, 500, 503)),
    # what a URL may hold
    Ask("GET", "/anything?a=1&a=2&b=&c&=d"),
    Ask("GET", "/anything?q=%2F+%20%2B%26%3D%25%00&u=%C3%BC&x=a+b"),
    Ask("GET", "/anything/a%2Fb/%252F/c%20d/%C3%BC+e;p=1"),
    Ask("GET", "/anything//a///b/./c/../d/"),
    Ask("GET", "/anything/" + "x" * 4000 + "?y=" + "z" * 2000),
    Ask("GET", '/anything?json={"a":[1,2]}&pipe=a|b&caret=^&quote=\'~'),
    # redirects and cookies
    Ask("GET", "/redirect-to?url=https%3A%2F%2Fexample.com%2Fa%3Fb%3D1&status_code=307"),
    Ask("GET", "/redirect-to?url=%2Frelative"),
    Ask("GET", "/relative-redirect/2"),
    Ask("GET", "/absolute-redirect/2"),
    Ask("GET", "/cookies/set?a=1&b=two"),
    Ask("GET", "/cookies/delete?a=&b="),
    Ask("GET", "/cookies", (("cookie", 'a=1; b=%20two; c="x y"'),)),
    Ask("GET", "/response-headers?x-twice=1&x-twice=2&x-empty=&set-cookie=a%3D1%3B%20Path%3D%2F"),
    # encodings
    *(
        Ask("GET", f"/{kind}", (("accept-encoding", "gzip, deflate, br"),))
        for kind in ("gzip", "deflate", "brotli")
    ),
    Ask("GET", "/html", (("accept-encoding", "gzip, br"),)),
    Ask("GET", "/encoding/utf8"),
    Ask("GET", "/xml"),
    # bodies
    Ask("GET", "/bytes/100000?seed=3"),
    Ask("GET", "/stream-bytes/100000?seed=3&chunk_size=777"),
    Ask("GET", "/stream/20"),
    *(Ask("GET", f"/image/{kind}") for kind in ("png", "jpeg", "webp", "svg")),
    Ask("POST", "/anything", (("content-type", "application/octet-stream"),), NOISE),
    Ask("POST", "/anything", (("content-type", "application/octet-stream"),), NOISE, chunked=True),
    Ask("POST", "/anything", (("content-type", "text/plain"),), b"x" * 1_000_000),
    Ask("POST", "/anything", (("content-type", "application/json"),), b'{"a": [1, null, "\xc3\xbc"]}'),
    Ask("POST", "/anything", (), b""),
    Ask("POST", "/post", (FORM, ("expect", "100-continue")), b"a=1"),
    # conditions and ranges
    Ask("GET", "/etag/abc"),
    Ask("GET", "/etag/abc", (("if-none-match", '"abc"'),)),
    Ask("GET", "/etag/abc", (("if-match", '"other"'),)),
    Ask("GET", "/cache", (("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),)),
    Ask("GET", "/cache/60"),
    *(
        Ask("GET", "/range/1024", (("range", f"bytes={part}"),))
        for part in ("0-9", "1000-", "-10", "2000-", "5-1")
    ),
    Ask("GET", "/range/4096?chunk_size=100"),
    # authentication
    Ask("GET", "/basic-auth/u/p"),
    Ask("GET", "/basic-auth/u/p", (("authorization", "Basic dTpw"),)),
    Ask("GET", "/bearer", (("authorization", "Bearer abc.def-ghi_jkl~+/="),)),
    # headers
    Ask(
        "GET",
        "/headers",
        (("x-large", "v" * 7000), ("x-empty", ""), ("x-comma", "a, b,c"), ("x-colon", "a:b")),
    ),
    Ask(
        "GET",
        "/headers",
        (("accept", "*/*;q=0.1"), ("accept-language", "de"), ("origin", "https://a.example")),
    ),
    Ask("GET", "/headers", (("x-request-id", "mine"), ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"))),
    Ask("OPTIONS", "/get", (("origin", "https://a.example"), ("access-control-request-method", "PUT"))),
)


@pytest.mark.parametrize("ask", ASKS, ids=str)
def test_a_wsgi_program_answers_as_it_does_directly(httpbin: Doors, ask: Ask) -> None:
    httpbin.ask_everywhere(ask)


SENT = (
    ("accept", "*/*"),
    ("accept-encoding", "deflate, gzip;q=0.5"),
    ("cookie", "a=1"),
    ("expect", "100-continue"),
    ("referer", "https://a.example/?b=c"),
    ("te", "trailers"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", "tester/1.0 (a; b)"),
    ("x-amzn-trace-id", "Root=1-67891233-abcdef012345678912345678"),
    ("x-edge-own", "1"),
    ("x-envoy-max-retries", "3"),
    ("x-forwarded-for", "198.51.100.7"),
    ("x-forwarded-host", "a.example"),
    ("x-hf-own", "1"),
    ("x-real-ip", "198.51.100.7"),
    ("x-request-id", "mine"),
)


@pytest.mark.parametrize(
    ("way", "changes"), [("gateway", GATEWAY_CHANGES), ("edge", EDGE_CHANGES), ("edge, TLS", EDGE_CHANGES)]
)
def test_a_program_sees_the_clients_headers_but_for_the_listed_ones(
    httpbin: Doors, way: str, changes: dict[str, str]
) -> None:
    (door,) = (each for each in httpbin.ways if each.name == way)
    ask = Ask("GET", "/anything?show_env=1", SENT)

    def seen(through: Door) -> dict[str, str]:
        (row,) = echoed(through.ask(ask, "client.example"))
        return {name.lower(): value for name, value in row["headers"].items()}

    before, after = seen(httpbin.direct), seen(door)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == set(changes)


def test_an_answer_arrives_as_it_is_written(httpbin: Doors) -> None:
    """A stand-in that kept the answer until its end would pass every other test."""
    for door in httpbin.ways:
        if door.http2:
            continue
        connection = connect(door.url)
        connection.request("GET", "/drip?duration=2&numbytes=4&delay=0")
        answer = connection.getresponse()
        began = time.monotonic()
        assert answer.read(1) == b"*", door.name
        first_s = time.monotonic() - began
        assert answer.read() == b"***"
        assert time.monotonic() - began - first_s > 0.5, door.name
        connection.close()


def test_the_edge_withholds_hsts_from_localhost(httpbin: Doors) -> None:
    """A browser would refuse http:// on every other port of localhost; on AWS the header is sent."""
    ask = Ask("GET", "/response-headers?Strict-Transport-Security=max-age%3D60")
    assert httpbin.ask_directly(ask).header("strict-transport-security") == "max-age=60"
    for door in httpbin.ways:
        wanted = "max-age=60" if door.name == "gateway" else None
        assert door.ask(ask, "a").header("strict-transport-security") == wanted, door.name


# ---------------------------------------------------------------------------------------------- ASGI


@dataclass(frozen=True)
class Shared:
    """ASGIWebDAV on some folder: the manifest's line that starts it, and what it needs beside the manifest."""

    program: str
    files: dict[str, str]


def _dav(kind: str, folder: Path) -> Shared:
    config = folder / "webdav.json"
    anybody = {"enable": True, "user": {"username": "anybody", "password": "", "permissions": ["+"]}}
    store = [{"prefix": "/", "uri": f"file://{folder / 'store'}"}]
    files = {str(config): json.dumps({"anonymous": anybody, "provider_mapping": store})}
    if kind == "command":
        argv = [sys.executable, "-m", "asgi_webdav", "--config", str(config), "--port", "{port}"]
        return Shared(f"command = {json.dumps(argv)}", files)
    module = f"""
from asgi_webdav.constants import AppEntryParameters
from asgi_webdav.server import get_asgi_app

app = get_asgi_app(AppEntryParameters(config_file={str(config)!r}))
"""
    return Shared('app = "store:app"', {**files, str(folder / "project" / "store.py"): module})


@pytest.fixture(scope="module", params=["app", "command"])
def webdav(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("webdav")
    for name in ("project", "store"):
        (folder / name).mkdir()
    shared = _dav(request.param, folder)
    for path, text in shared.files.items():
        Path(path).write_text(text)
    (folder / "project" / "holdfast.toml").write_text(manifest("store", shared.program, "/"))
    with up(folder / "project", "--speed", "30") as running:
        yield doors(running)


MEGABYTE = Random(8).randbytes(1_000_000)
NAMES = ("plain.bin", "a b+c%d&e=f#g?.bin", "ü/ß.bin", "it's (1);v=2,$@!~*.txt")


@pytest.mark.parametrize("name", NAMES)
def test_an_asgi_program_stores_and_serves_files(webdav: Doors, name: str) -> None:
    folder, _, _ = name.rpartition("/")
    if folder:
        webdav.ask_directly(Ask("MKCOL", f"/{quote(folder)}"))
    path = f"/{quote(name)}"
    for door in webdav.ways:
        body = MEGABYTE[:-1] + bytes([len(door.name)])
        assert door.ask(Ask("PUT", path, (), body), webdav.host).status in (201, 204), door.name
        assert webdav.ask_directly(Ask("GET", path)).body == body, door.name
    assert webdav.ask_everywhere(Ask("GET", path)).body == body
    for part in ("bytes=0-9", "bytes=500000-500009", "bytes=-10"):
        assert webdav.ask_everywhere(Ask("GET", path, (("range", part),))).status == 206
    webdav.ask_everywhere(Ask("HEAD", path))
    for encoding in ("gzip", "deflate"):
        webdav.ask_everywhere(Ask("GET", path, (("accept-encoding", encoding),)))
    assert webdav.ask_directly(Ask("DELETE", path)).status == 204
    assert webdav.ask_everywhere(Ask("GET", path)).status == 404
    assert webdav.ask_everywhere(Ask("DELETE", path)).status == 404


def test_an_upload_of_unknown_length_arrives_whole(webdav: Doors) -> None:
    for door in webdav.ways:
        ask = Ask("PUT", "/chunked.bin", body=NOISE, chunked=True)
        if door.http2:
            ask = replace(ask, chunked=False)
        assert door.ask(ask, webdav.host).status in (201, 204), door.name
        assert webdav.ask_directly(Ask("GET", "/chunked.bin")).body == NOISE, door.name
    webdav.ask_directly(Ask("DELETE", "/chunked.bin"))
