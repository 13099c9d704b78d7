"""The Runtime API over a real socket, with a listener that only remembers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from holdfast.local.functions.runtime_api import Invocation, Port

BASE = "/2018-06-01/runtime/"
INVOCATION = Invocation("r-1", b'{"a": 1}', "arn:f:3", 1_700_000_000_000, "Root=1-x")


class Listener:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.news = asyncio.Event()

    def _hear(self, *what: Any) -> None:
        self.told.append(what)
        self.news.set()

    def on_next(self, environment: str) -> None:
        self._hear("next", environment)

    def on_response(self, environment: str, request: str, answer: bytes | None) -> None:
        self._hear("response", environment, request, answer)

    def on_error(self, environment: str, request: str, error: str) -> None:
        self._hear("error", environment, request, error)

    def on_init_error(self, environment: str, error: str) -> None:
        self._hear("init", environment, error)

    def on_closed(self, environment: str) -> None:
        self._hear("closed", environment)


@dataclass
class Rig:
    """A listening port, who listens to it, and a client."""

    port: Port
    listener: Listener
    client: aiohttp.ClientSession


def with_port(test: Callable[[Rig], Awaitable[None]]) -> Callable[[], None]:
    """Run an asynchronous test on a fresh rig."""

    async def run() -> None:
        listener = Listener()
        port = Port("f-1", "127.0.0.1", listener, limit=50)
        await port.listen()
        try:
            async with aiohttp.ClientSession(f"http://{port.address}") as client:
                await asyncio.wait_for(test(Rig(port, listener, client)), 10)
        finally:
            port.close()

    def sync() -> None:
        asyncio.run(run())

    sync.__name__ = test.__name__
    return sync


@with_port
async def test_an_event_comes_with_the_documented_headers(rig: Rig) -> None:
    asking = asyncio.create_task(rig.client.get(BASE + "invocation/next"))
    await rig.listener.news.wait()
    rig.port.deliver(INVOCATION)
    async with await asking as response:
        assert (response.status, await response.read()) == (200, b'{"a": 1}')
        assert response.content_type == "application/json"
        assert response.headers["Lambda-Runtime-Aws-Request-Id"] == "r-1"
        assert response.headers["Lambda-Runtime-Deadline-Ms"] == "1700000000000"
        assert response.headers["Lambda-Runtime-Invoked-Function-Arn"] == "arn:f:3"
        assert response.headers["Lambda-Runtime-Trace-Id"] == "Root=1-x"
    assert rig.listener.told == [("next", "f-1")]


@with_port
async def test_what_is_posted_is_told(rig: Rig) -> None:
    error = json.dumps({"errorType": "KeyError", "errorMessage": "'id'"})
    for path, body in [
        ("invocation/r-1/response", "{}"),
        ("invocation/r-2/error", error),
        ("invocation/r-3/error", "no document"),
        ("init/error", error),
    ]:
        async with rig.client.post(BASE + path, data=body) as response:
            assert response.status == 202
    assert rig.listener.told == [
        ("response", "f-1", "r-1", b"{}"),
        ("error", "f-1", "r-2", "KeyError: 'id'"),
        ("error", "f-1", "r-3", "no document"),
        ("init", "f-1", "KeyError: 'id'"),
    ]


@with_port
async def test_too_long_an_answer_is_refused_in_lambdas_words(rig: Rig) -> None:
    async with rig.client.post(BASE + "invocation/r-1/response", data="x" * 51) as response:
        assert response.status == 413
        assert (await response.json())["errorType"] == "RequestEntityTooLarge"
    assert rig.listener.told == [("response", "f-1", "r-1", None)]


@with_port
async def test_other_resources_do_not_exist(rig: Rig) -> None:
    for method, path in [("GET", "restore/next"), ("POST", "invocation/next"), ("GET", "init/error")]:
        async with rig.client.request(method, BASE + path) as response:
            assert response.status == 404
    assert rig.listener.told == []


@with_port
async def test_an_invocation_nobody_asks_for_goes_nowhere(rig: Rig) -> None:
    rig.port.deliver(INVOCATION)
    assert rig.listener.told == []


@with_port
async def test_the_last_closed_connection_is_the_end_of_the_environment(rig: Rig) -> None:
    host, _, number = rig.port.address.partition(":")
    writers = [(await asyncio.open_connection(host, int(number)))[1] for _ in range(2)]
    writers[1].write(f"GET {BASE}invocation/next HTTP/1.1\r\n\r\n".encode())
    await rig.listener.news.wait()
    rig.listener.news.clear()
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    await rig.listener.news.wait()
    async with rig.client.get("/"):
        assert rig.listener.told == [("next", "f-1"), ("closed", "f-1")]


def test_each_environment_has_a_port_of_its_own() -> None:
    ports = [Port(name, "127.0.0.1", _nobody(), 50) for name in ("f-1", "f-2")]
    assert ports[0].address != ports[1].address
    for port in ports:
        port.close()


def _nobody() -> Any:
    return pytest.fail
