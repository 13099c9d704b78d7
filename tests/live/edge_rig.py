"""A real edge (Envoy and nginx) in front of real regional fronts (Envoy, h2c) and an app that does as told."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from dnslib import QTYPE, RR, A, DNSRecord
from tests.live.zone_rig import Seen, end, eventually, http

from holdfast.components.cloudfront import CloudFront, CloudFrontSettings
from holdfast.components.edgefunction import EdgeFunction, EdgeFunctionSettings
from holdfast.local import certs
from holdfast.local.envoy import binary, edge, xds
from holdfast.local.envoy.edge import Edge, Origin, State
from holdfast.model import Group, Role

API = "api.orders.internal"
REGIONS = ("eu-west-1", "us-east-1")
EDGE_HOST = "127.78.0.2"
NOBODY = "127.78.9.9"
"""An address on which nothing listens: connections are refused."""
_octet = itertools.count(1)


def ip(region: int, zone: int) -> str:
    """The front of a zone, both from 1."""
    return f"127.78.{region}.{zone}"


@dataclass
class Names:
    """A name server whose answers a test changes. ``asked`` counts the questions by name."""

    records: dict[str, tuple[list[str], int]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    async def start(self) -> Self:
        loop = asyncio.get_running_loop()
        names = self

        class Server(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.transport.sendto(names.reply(data), addr)

        self._transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.78.0.53", 0))
        self.address: tuple[str, int] = self._transport.get_extra_info("sockname")[:2]
        return self

    def stop(self) -> None:
        self._transport.close()

    def reply(self, data: bytes) -> bytes:
        question = DNSRecord.parse(data)
        name = str(question.q.qname).rstrip(".")
        self.asked[name] = self.asked.get(name, 0) + 1
        answer = question.reply()
        addresses, ttl_s = self.records.get(name, ([], 0))
        if not addresses:
            answer.header.rcode = 3
        for address in addresses:
            answer.add_answer(RR(question.q.qname, QTYPE.A, rdata=A(address), ttl=ttl_s))
        return bytes(answer.pack())


Answer = Callable[["Call"], "bytes | None"]


@dataclass(frozen=True)
class Call:
    """A request as the app received it: from which zone's front, and what."""

    at: str
    seen: Seen

    @property
    def method(self) -> str:
        return self.seen.line.split(" ")[0]

    @property
    def path(self) -> str:
        return self.seen.line.split(" ")[1]


class App:
    """The user's program behind every front. ``answer`` may be a coroutine function; ``None`` hangs up."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: Callable[[Call], Any] = lambda call: http(
            200, call.at.encode(), "content-type: text/plain"
        )

    async def start(self, folder: Path) -> None:
        self._server = await asyncio.start_unix_server(self._serve, folder / "app.sock")

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (reply := await self._one(reader, writer)) is not None:
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = [(key.lower(), value) for key, _, value in (line.partition(": ") for line in head[1:-2])]
        seen = Seen(head[0], headers, b"", writer)
        seen.body = await reader.readexactly(int(seen.header("content-length") or 0))
        call = Call(seen.header("x-front") or "", seen)
        self.calls.append(call)
        reply = self.answer(call)
        return await reply if asyncio.iscoroutine(reply) else reply


def fronts(addresses: list[str], port: int) -> xds.Json:
    """One Envoy that listens (HTTP/1.1 and h2c) on every address and says in ``x-front`` on which."""
    return {"static_resources": {"listeners": [_front(a, port) for a in addresses], "clusters": [_app()]}}


def _front(address: str, port: int) -> xds.Json:
    routes = [
        {
            "match": {"prefix": "/"},
            "route": {"cluster": "app", "timeout": "0s"},
            "request_headers_to_add": [{"header": {"key": "x-front", "value": address}}],
        }
    ]
    manager = xds.extension(
        "hcm",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="front",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        server_header_transformation="PASS_THROUGH",
        http2_protocol_options={"allow_connect": True},
        upgrade_configs=[{"upgrade_type": "websocket"}],
        http_filters=[
            xds.extension(
                "envoy.filters.http.router",
                "envoy.extensions.filters.http.router.v3.Router",
                suppress_envoy_headers=True,
            )
        ],
    )
    where = {"socket_address": {"address": address, "port_value": port}}
    return {"name": address, "address": where, "filter_chains": [{"filters": [manager]}]}


def _app() -> xds.Json:
    endpoint = {"endpoint": {"address": {"pipe": {"path": "app.sock"}}}}
    return {
        "name": "app",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


@dataclass
class Got:
    status: int
    body: bytes
    headers: Any
    version: Any = None


@dataclass
class Rig:
    """The running edge and the means to look at it and to change it."""

    edge: Edge
    folder: Path
    names: Names
    app: App
    client: aiohttp.ClientSession
    tls: ssl.SSLContext
    processes: dict[str, asyncio.subprocess.Process]

    async def get(self, path: str = "/", **options: Any) -> Got:
        return await self.send("GET", path, **options)

    async def send(self, method: str, path: str, **options: Any) -> Got:
        url = f"http://{EDGE_HOST}:{self.edge.http_port}{path}"
        async with self.client.request(method, url, allow_redirects=False, **options) as answer:
            return Got(answer.status, await answer.read(), answer.headers.copy(), answer.version)

    def update(self, state: State) -> None:
        xds.write(self.folder, edge.update(self.edge, state))

    def point(self, addresses: list[str], ttl_s: int = 60) -> None:
        self.names.records[API] = (addresses, ttl_s)

    def paths(self) -> list[str]:
        return [call.path for call in self.app.calls]

    async def log(self) -> list[dict[str, Any]]:
        text = (self.folder / "access.log").read_text()
        return [json.loads(line) for line in text.splitlines()]

    async def launch(self, name: str) -> None:
        """Start (or start again) ``envoy`` or ``nginx``."""
        argv = edge.argv_envoy(self.edge) if name == "envoy" else edge.argv_nginx(self.edge)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                *argv, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    async def until_up(self) -> None:
        for path, probe in (("store.sock", _connects_unix), ("", _connects_tcp)):
            if path and not self.edge.bucket_dir and not self.edge.cached:
                continue

            async def up(path: str = path, probe: Any = probe) -> bool:
                for name, process in self.processes.items():
                    assert process.returncode is None, (self.folder / f"{name}.log").read_text()
                return bool(await probe(self, path))

            await eventually(up, 20)


async def _connects_unix(rig: Rig, path: str) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(os.path.relpath(rig.folder / path))
    except OSError:
        return False
    writer.close()
    return True


async def _connects_tcp(rig: Rig, _: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(EDGE_HOST, rig.edge.http_port)
    except OSError:
        return False
    writer.close()
    return True


def free_port(hosts: list[str]) -> int:
    """A port free on every host."""
    while True:
        with socket.socket() as first:
            first.bind((hosts[0], 0))
            port = int(first.getsockname()[1])
        try:
            for host in hosts:
                with socket.socket() as other:
                    other.bind((host, port))
        except OSError:
            continue
        return port


def describe(folder: Path, names: Names, zone_port: int, options: Mapping[str, Any]) -> Edge:
    """An edge of two regions with these settings; ``site`` is a folder of files, ``function`` its settings."""
    settings = CloudFrontSettings(**options.get("settings", {}))
    function = options.get("function")
    behaviour = CloudFront().behaviour(settings)
    made = certs.ensure(folder / "certs", [EDGE_HOST, "www.orders.test"])
    return Edge(
        host=EDGE_HOST,
        http_port=free_port([EDGE_HOST]),
        https_port=free_port([EDGE_HOST]),
        admin_socket="edge.sock",
        access_log="access.log",
        cdn=Group("cloudfront", "cloudfront", Role.CDN, None, settings, behaviour, ()),
        edge_function=None if function is None else _function(EdgeFunctionSettings(**function)),
        bucket_dir=options.get("site"),
        api_hostname=API,
        origins=tuple(Origin(r, f"{r}.{API}", zone_port, i) for i, r in enumerate(REGIONS)),
        dns=names.address,
        certificate=made.cert_path,
        key=made.key_path,
        folder=str(folder),
    )


def _function(settings: EdgeFunctionSettings) -> Group:
    behaviour = EdgeFunction().behaviour(settings)
    return Group("edgefunction", "edgefunction", Role.EDGE_FUNCTION, None, settings, behaviour, ())


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Rig]:
    """An edge of this description, the API on three zones of the first region; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hf-edge-") as name:
        folder = Path(name)
        addresses = [ip(region, zone) for region in (1, 2) for zone in (1, 2, 3)]
        port = free_port([*addresses, NOBODY])
        names, app = await Names().start(), App()
        names.records[API] = (addresses[:3], 60)
        for i, region in enumerate(REGIONS):
            names.records[f"{region}.{API}"] = (addresses[i * 3 : i * 3 + 3], 60)
        names.records.update(options.get("records", {}))
        await app.start(folder)
        described = describe(folder, names, port, options)
        xds.write(folder, {**edge.boot(described), "fronts.json": fronts(addresses, port)})
        tls = ssl.create_default_context(cafile=str(folder / "certs/ca.pem"))
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20), auto_decompress=False)
        rig = Rig(described, folder, names, app, session, tls, {})
        try:
            await _start(rig)
            yield rig
        finally:
            await session.close()
            for process in rig.processes.values():
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                await end(process)
            app.stop()
            names.stop()


async def _start(rig: Rig) -> None:
    with (rig.folder / "fronts.log").open("ab") as log:
        argv = (
            binary.path(),
            "-c",
            "fronts.json",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "warn",
        )
        rig.processes["fronts"] = await asyncio.create_subprocess_exec(
            *argv, cwd=rig.folder, stderr=log, start_new_session=True
        )
    host, port = ip(1, 1), rig.edge.origins[0].port

    async def listening() -> bool:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        return True

    await eventually(listening, 20)
    if rig.edge.bucket_dir or rig.edge.cached:
        await rig.launch("nginx")
    await rig.launch("envoy")
    await rig.until_up()
