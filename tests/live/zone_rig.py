"""A real zone proxy in front of small targets that do as a test tells them."""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import aiohttp

from holdfast.local.dns.prober import AGENT
from holdfast.local.envoy import xds, zone
from holdfast.local.envoy.admin import Admin, ProxyGone
from holdfast.local.envoy.routes import HEALTH_PATH
from holdfast.local.envoy.zone import Target, ZoneProxy
from holdfast.model import Behaviour, Group, HealthCheck, Link, RateLimit, Role

HOST = "127.77.4.1"
LOOPBACK = "127.0.0.1"
"""The address that clients on this machine come from."""
ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
HEALTH = HealthCheck(
    interval_s=0.1, timeout_s=0.1, unhealthy_threshold=2, healthy_threshold=3, path="/health"
)
GATEWAY = Behaviour(request_timeout_s=29, max_payload_bytes=10 * 1024 * 1024, max_header_bytes=10_240)
BALANCER = Behaviour(idle_timeout_s=60, connect_timeout_s=10, max_header_bytes=65_536, fail_open=True)


def group(name: str, role: Role, behaviour: Behaviour) -> Group:
    return Group(name, name, role, "eu-west-1", None, behaviour, ())


@dataclass(frozen=True)
class Shape:
    """What a test varies about the proxy."""

    gateway: Behaviour | None = GATEWAY
    balancer: Behaviour | None = BALANCER
    compute: Role = Role.WORKERS
    health: HealthCheck | None = HEALTH
    zones: int = 1

    def proxy(self, port: int) -> ZoneProxy:
        parts = [("apigateway", Role.GATEWAY, self.gateway), ("alb", Role.BALANCER, self.balancer)]
        chain = tuple(group(name, role, behaviour) for name, role, behaviour in parts if behaviour)
        return ZoneProxy(
            region="eu-west-1",
            zone=ZONES[0],
            host=HOST,
            port=port,
            admin_socket="admin.sock",
            chain=chain,
            compute=group("app", self.compute, Behaviour()),
            link=Link("in:app", chain[-1].id, "app", health=self.health),
            region_zones=self.zones,
            access_log="access.log",
        )


BALANCER_ONLY = Shape(gateway=None)


def throttled(rate: float, burst: int) -> Behaviour:
    return replace(GATEWAY, rate_limit=RateLimit(rate, burst))


@dataclass
class Seen:
    """A request as a target received it."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes
    writer: asyncio.StreamWriter

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


Answer = Callable[[Seen], Awaitable[bytes | None]]


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def ok(_: Seen) -> bytes:
    return http(200, b"ok")


async def never(_: Seen) -> bytes:
    await asyncio.Event().wait()
    return http(200)


def answering(status: int, body: bytes = b"", *headers: str) -> Answer:
    async def answer(_: Seen) -> bytes:
        return http(status, body, *headers)

    return answer


@dataclass
class App:
    """One target: ``answer`` serves the API, ``health`` is the status of its health path, ``seen`` its requests."""

    node: str
    answer: Answer = ok
    health: int = 200
    zone: str = ZONES[0]
    seen: list[Seen] = field(default_factory=list)
    probes: list[Seen] = field(default_factory=list)
    port: int = 0

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()

    @property
    def target(self) -> Target:
        return Target(self.node, self.zone, HOST, self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (reply := await self._one(reader, writer)) is not None:
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = [(key.lower(), value) for key, _, value in (line.partition(": ") for line in head[1:-2])]
        request = Seen(head[0], headers, b"", writer)
        request.body = await _body(request, reader)
        if head[0].startswith("GET /health "):
            self.probes.append(request)
            return http(self.health)
        self.seen.append(request)
        return await self.answer(request)


async def _body(request: Seen, reader: asyncio.StreamReader) -> bytes:
    if request.header("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body
    return await reader.readexactly(int(request.header("content-length") or 0))


@dataclass
class Rig:
    """The running proxy and the means to look at it and to change it."""

    proxy: ZoneProxy
    folder: Path
    admin: Admin
    http: aiohttp.ClientSession
    process: asyncio.subprocess.Process

    def push(self, files: dict[str, xds.Json]) -> None:
        xds.write(self.folder, files)

    def register(self, *targets: Target) -> None:
        self.push(zone.endpoints(self.proxy, targets))

    async def get(self, path: str = "/", **options: Any) -> Got:
        return await self.send("GET", path, **options)

    async def send(self, method: str, path: str, **options: Any) -> Got:
        url = f"http://{HOST}:{self.proxy.port}{path}"
        async with self.http.request(method, url, **options) as answer:
            return Got(answer.status, await answer.read(), answer.headers.copy())

    async def raw(self, data: bytes, *, until: bytes = b"\r\n\r\n") -> bytes:
        reader, writer = await asyncio.open_connection(HOST, self.proxy.port)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.readuntil(until), 5)
        finally:
            writer.close()

    async def probe(self) -> int:
        """As Route 53's health checkers ask a node."""
        return (await self.get(HEALTH_PATH, headers={"user-agent": f"{AGENT} (ref test)"})).status

    async def healthy(self) -> set[str]:
        return {node for node, state in (await self.admin.target_health()).items() if state.healthy}

    async def until_healthy(self, *nodes: str) -> None:
        async def same() -> bool:
            return await self.healthy() == set(nodes)

        await eventually(same)


@dataclass(frozen=True)
class Got:
    status: int
    body: bytes
    headers: Any


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def running(shape: Shape, *apps: App) -> AsyncIterator[Rig]:
    """A proxy of this shape with these targets registered and judged; everything is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hf-zone-") as name:
        folder, proxy = Path(name), shape.proxy(free_port())
        xds.write(folder, zone.boot(proxy))
        process = await launch(folder, proxy)
        admin = Admin(str(folder / "admin.sock"))
        client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10), auto_decompress=False)
        rig = Rig(proxy, folder, admin, client, process)
        try:
            await started(rig)
            await register_and_wait(rig, shape, *apps)
            yield rig
        finally:
            await client.close()
            await admin.close()
            for app in apps:
                await app.stop()
            await end(rig.process)


@asynccontextmanager
async def serving(*apps: App) -> AsyncIterator[None]:
    """Targets that a test registers later."""
    for app in apps:
        await app.start()
    try:
        yield
    finally:
        for app in apps:
            await app.stop()


async def launch(folder: Path, proxy: ZoneProxy) -> asyncio.subprocess.Process:
    argv = list(zone.argv(proxy))
    argv[argv.index("--drain-time-s") + 1] = "1"
    with (folder / "envoy.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(*argv, cwd=folder, stderr=log)


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    await process.wait()


async def started(rig: Rig) -> None:
    async def listening() -> bool:
        assert rig.process.returncode is None, (rig.folder / "envoy.log").read_text()
        try:
            await rig.admin.counters()
            _, writer = await asyncio.open_connection(HOST, rig.proxy.port)
        except (ProxyGone, OSError):
            return False
        writer.close()
        return True

    await eventually(listening)


async def register_and_wait(rig: Rig, shape: Shape, *apps: App) -> None:
    for app in apps:
        await app.start()
    rig.register(*(app.target for app in apps))
    checked = shape.health is not None and shape.compute is Role.WORKERS
    await rig.until_healthy(*(app.node for app in apps if app.health == 200 or not checked))
    if checked:

        async def judged() -> bool:
            return all(app.probes for app in apps)

        await eventually(judged)


def scenario(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an ``async`` test."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 30))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
