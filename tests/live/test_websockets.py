"""WebSockets pass a load balancer, also behind the edge; a REST API drops the upgrade. Real programs, real client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import websockets
from tests.live.system_rig import Running, load, up

pytestmark = pytest.mark.live

ECHO = """
import json


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
    elif scope["type"] == "http":
        names = sorted(name.decode() for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(names).encode()})


async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
"""
MESSAGES = ("text", "ü" * 1000, b"", bytes(range(256)), b"\x00" * 200_000)


@contextmanager
def echo_behind(folder: Path, chain: str) -> Iterator[Running]:
    (folder / "echo.py").write_text(ECHO)
    (folder / "holdfast.toml").write_text(
        f"""
[service]
name = "echo"
app = "echo:app"
[regions]
names = ["eu-west-1"]
zones = 2
[entry]
chain = {chain}
[compute]
replicas = {{ min = 2, max = 4 }}
[cloudfront]
read_timeout_s = 1
"""
    )
    with up(folder, "--speed", "30") as running:
        yield running


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with echo_behind(tmp_path_factory.mktemp("balanced"), '["cloudfront", "alb"]') as running:
        yield running


def doors(system: Running) -> list[str]:
    gateways = system.urls["gateways"].values()
    edges = [system.urls[name] for name in ("edge_http", "edge") if name in system.urls]
    return [url.replace("http", "ws", 1) + "live?a=1" for url in (*gateways, *edges)]


def dial(url: str) -> websockets.connect:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return websockets.connect(
        url, subprotocols=["chat.v1"], open_timeout=10, ssl=context if url.startswith("wss") else None
    )


async def echoes(url: str) -> None:
    async with dial(url) as socket:
        assert socket.subprotocol == "chat.v1"
        for message in MESSAGES:
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), 10) == message, url


async def test_a_balancer_and_the_edge_before_it_hand_websockets_on(balanced: Running) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html"""
    for url in doors(balanced):
        await echoes(url)


async def test_a_quiet_websocket_outlives_the_edges_response_timeout(balanced: Running) -> None:
    """The timeout is for the origin's answer, and a WebSocket's was 101."""
    async with dial(doors(balanced)[1]) as socket:
        await asyncio.sleep(2.5)
        await socket.send("still there")
        assert await asyncio.wait_for(socket.recv(), 10) == "still there"


async def test_without_an_edge(tmp_path: Path) -> None:
    with echo_behind(tmp_path, '["alb"]') as system:
        (url,) = doors(system)
        await echoes(url)


async def test_a_gateway_answers_the_plain_request_and_nobody_elses_suffers(tmp_path: Path) -> None:
    """A REST API drops the Upgrade header:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html"""
    with echo_behind(tmp_path, '["cloudfront", "apigateway", "alb"]') as system:
        async with load(system.urls["edge_http"] + "slow") as others:
            for url in doors(system):
                with pytest.raises(websockets.InvalidStatus) as refused:
                    await echoes(url)
                answer = refused.value.response
                assert answer.status_code == 200
                assert b'"upgrade"' not in bytes(answer.body), url
        assert others.outcomes
        assert not others.failures
