"""The control surface of a running system: HTTP with JSON on a unix socket.

The socket lies in a folder only the user can enter, and every call needs the token of the run (kept in a file with
mode 0600), so neither another user nor a web page that reaches the socket can stop a system.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from holdfast.errors import HoldfastError, InputError
from holdfast.model import Event

Json = Mapping[str, Any]
MAX_WAIT_S = 30.0
"""Longest time an events call waits for news; below the time-out of the client."""


class Handle(Protocol):
    """What the control surface needs of the running system; the drills use the same handle in process."""

    def status(self) -> Json: ...
    async def act(self, operation: str, target: str) -> Json: ...
    async def scale(self, desired: int, region: str | None) -> Json: ...
    async def reload(self) -> Json: ...
    def deployment(self) -> Json: ...
    def fault(self, fault_id: str) -> Json: ...
    async def events(self, after: int, wait_s: float) -> tuple[int, list[Event]]: ...
    def request_stop(self) -> None: ...


HANDLE: web.AppKey[Handle] = web.AppKey("handle")

ACTIONS = ("kill", "pause", "resume", "cut", "interrupt")


async def serve(handle: Handle, socket_path: str, token: str) -> web.AppRunner:
    """Start answering on ``socket_path``; the caller cleans the returned runner up."""
    app = web.Application(middlewares=[_guarded(token)])
    app[HANDLE] = handle
    app.add_routes(
        [
            web.get("/v1/status", _status),
            web.get("/v1/events", _events),
            web.get("/v1/faults/{id}", _fault),
            web.get("/v1/deployment", _deployment),
            web.post("/v1/scale", _scale),
            web.post("/v1/reload", _reload),
            web.post("/v1/down", _down),
            web.post("/v1/actions/{operation}", _act),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    mask = os.umask(0o177)
    try:
        await web.UnixSite(runner, socket_path).start()
    finally:
        os.umask(mask)
    return runner


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _guarded(token: str) -> Any:
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {token}".encode()):
            return web.json_response({"message": "the token of this run is missing or wrong"}, status=401)
        try:
            return await handler(request)
        except HoldfastError as error:
            return web.json_response(_as_json(error), status=409)

    return guarded


def _as_json(error: HoldfastError) -> dict[str, Any]:
    problems = [str(problem) for problem in error.problems] if isinstance(error, InputError) else []
    return {"message": error.message, "hint": error.hint, "exit_code": error.exit_code, "problems": problems}


def _handle(request: web.Request) -> Handle:
    return request.app[HANDLE]


async def _status(request: web.Request) -> web.Response:
    return web.json_response(_handle(request).status())


async def _events(request: web.Request) -> web.Response:
    after = int(request.query.get("after", "0"))
    wait_s = min(float(request.query.get("wait", "0")), MAX_WAIT_S)
    last, events = await _handle(request).events(after, wait_s)
    rows = [
        {"t": e.t, "kind": e.kind, "subject": e.subject, "message": e.message, "data": dict(e.data)}
        for e in events
    ]
    return web.json_response({"last": last, "events": rows})


async def _fault(request: web.Request) -> web.Response:
    return web.json_response(_handle(request).fault(request.match_info["id"]))


async def _deployment(request: web.Request) -> web.Response:
    return web.json_response(_handle(request).deployment())


async def _scale(request: web.Request) -> web.Response:
    body = await request.json()
    return web.json_response(await _handle(request).scale(int(body["desired"]), body.get("region")))


async def _reload(request: web.Request) -> web.Response:
    return web.json_response(await _handle(request).reload())


async def _act(request: web.Request) -> web.Response:
    operation = request.match_info["operation"]
    if operation not in ACTIONS:
        return web.json_response({"message": f"no such operation: {operation}"}, status=404)
    body = await request.json()
    return web.json_response(await _handle(request).act(operation, str(body["target"])))


async def _down(request: web.Request) -> web.Response:
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, _handle(request).request_stop)
    return web.json_response({"stopping": True})
