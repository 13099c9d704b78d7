"""Name server and health checks together, over real sockets on 127.0.0.0/8.

Two regions of two zones; the nodes are tiny HTTP servers that can refuse, hang or fail.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdfast.errors import EnvironmentProblem, HoldfastError
from holdfast.local.addresses import Network, claim, free_port_on_all
from holdfast.local.dns.checks import Check, HealthChecks, Surroundings
from holdfast.local.dns.health import CHECKER_REGIONS, Fleet
from holdfast.local.dns.prober import Address, Name, Target
from holdfast.local.dns.resolver import over_tcp, resolve
from holdfast.local.dns.responder import Responder
from holdfast.local.dns.server import DnsServer
from holdfast.local.dns.wire import question, read_answer
from holdfast.local.dns.zone import Alias, HostedZone, Record, Routing
from holdfast.local.dns.zones import hosted
from holdfast.model import HealthCheck

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8"),
]

REGIONS = ("eu-west-1", "us-east-1")
POLICY = HealthCheck(
    interval_s=0.2, timeout_s=0.8, unhealthy_threshold=3, healthy_threshold=3, path="/_hf/health"
)
DEADLINE_S = 20.0


class Node:
    """A load balancer node. ``mode``: "ok", "503", "hang" or "noise"; ``stop`` makes it refuse connections."""

    def __init__(self, ip: str, port: int) -> None:
        self.ip, self.port, self.mode = ip, port, "ok"
        self.requests: list[str] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.ip, self.port)

    async def stop(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            line = {
                "ok": b"HTTP/1.1 200 OK",
                "503": b"HTTP/1.1 503 Service Unavailable",
                "noise": b"ICY 200 OK",
            }
            if self.mode in line:
                writer.write(line[self.mode] + b"\r\ncontent-length: 0\r\n\r\n")
            else:
                await reader.read()
        except (EOFError, OSError):
            pass  # the checker was stopped in the middle of a probe
        finally:
            writer.close()


class World:
    """Everything that runs in a test."""

    def __init__(self, network: Network) -> None:
        zones = [len(REGIONS), len(REGIONS)]
        port = free_port_on_all([network.zone_ip(r, z) for r in range(2) for z in range(zones[r])])
        self.network = network
        self.nodes = {
            f"{region}/{z + 1}": Node(network.zone_ip(r, z), port)
            for r, region in enumerate(REGIONS)
            for z in range(2)
        }
        self.events: list[tuple[str, str, str, dict[str, Any]]] = []
        around = Surroundings(lookup=lambda name: self.dns.lookup(name), emit=self.emit)
        self.checks = HealthChecks(around, on_change=lambda check, healthy: self.dns.refresh())
        self.dns = DnsServer(Responder(self.zone(), self.checks.is_healthy), self.emit)

    def emit(self, kind: str, subject: str, message: str, data: dict[str, Any]) -> None:
        self.events.append((kind, subject, message, data))

    def zone(self) -> HostedZone:
        regional = [
            Record(
                f"{key.partition('/')[0]}.api.test", (node.ip,), 1, Routing.MULTIVALUE, key, health_check=key
            )
            for key, node in self.nodes.items()
        ]
        top = [
            Record(
                "api.test",
                (),
                1,
                Routing.FAILOVER,
                region,
                region,
                Alias(f"{region}.api.test"),
                region == REGIONS[0],
            )
            for region in REGIONS
        ]
        return hosted("api.test", [*top, *regional])

    def add_checks(self) -> None:
        def check(check_id: str, target: Target) -> Check:
            return Check(check_id, target, POLICY, connect_timeout_s=0.4, response_timeout_s=0.4)

        port = next(iter(self.nodes.values())).port
        for key, node in self.nodes.items():
            self.checks.add(check(key, Address(node.ip, node.port)))
        for region in REGIONS:
            self.checks.add(check(region, Name(f"{region}.api.test", port)))

    async def answers(self, name: str = "api.test") -> set[str]:
        found, _ = await resolve((self.network.dns_ip, self.dns.port), name)
        return set(found)

    def ips(self, *keys: str) -> set[str]:
        return {self.nodes[key].ip for key in keys}


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    with claim([2, 2], octets=range(180, 190)) as lease:
        here = World(lease.network)
        await here.dns.start(lease.network.dns_ip)
        for node in here.nodes.values():
            await node.start()
        here.add_checks()
        here.checks.start()
        try:
            yield here
        finally:
            await here.checks.stop()
            await here.dns.stop()
            for node in here.nodes.values():
                await node.stop()
            async with asyncio.timeout(DEADLINE_S):
                while len(asyncio.all_tasks()) > 1:  # what the nodes still serve
                    await asyncio.sleep(0.01)


async def eventually(what: Callable[[], Awaitable[object]], expected: object) -> None:
    """Poll until ``what`` gives ``expected``."""
    got = await what()
    async with asyncio.timeout(DEADLINE_S):
        while got != expected:
            await asyncio.sleep(0.02)
            got = await what()


def test_a_zone_leaves_and_comes_back() -> None:
    async def scenario() -> None:
        async with world() as here:
            both = here.ips("eu-west-1/1", "eu-west-1/2")
            assert await here.answers() == both
            await here.nodes["eu-west-1/2"].stop()
            await eventually(here.answers, here.ips("eu-west-1/1"))
            assert here.checks.is_healthy("eu-west-1"), "the region still answers through its other zone"
            await here.nodes["eu-west-1/2"].start()
            await eventually(here.answers, both)
            told = [(kind, subject) for kind, subject, _, _ in here.events]
            assert told.index(("dns.check.unhealthy", "eu-west-1/2")) < told.index(("dns.answer", "api.test"))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("503", "HTTP Status Code 503"), ("hang", "within 0.4 s"), ("noise", "did not speak HTTP")],
)
def test_a_region_fails_over_and_back(mode: str, reason: str) -> None:
    async def scenario() -> None:
        async with world() as here:
            sick = [node for key, node in here.nodes.items() if key.startswith("eu-")]
            for node in sick:
                node.mode = mode
            await eventually(here.answers, here.ips("us-east-1/1", "us-east-1/2"))
            await eventually(lambda: _healthy(here, "eu-west-1"), False)
            assert reason in here.checks.status()["eu-west-1"].last_failure
            assert here.checks.status()["eu-west-1"].healthy_share <= 0.18
            for node in sick:
                node.mode = "ok"
            await eventually(here.answers, here.ips("eu-west-1/1", "eu-west-1/2"))

    asyncio.run(scenario())


async def _healthy(here: World, check_id: str) -> bool:
    return here.checks.is_healthy(check_id)


def test_everything_unhealthy_still_answers_the_primary() -> None:
    async def scenario() -> None:
        async with world() as here:
            for node in here.nodes.values():
                await node.stop()
            async with asyncio.timeout(DEADLINE_S):
                while any(status.healthy for status in here.checks.status().values()):
                    await asyncio.sleep(0.02)
            assert await here.answers() == here.ips("eu-west-1/1", "eu-west-1/2")

    asyncio.run(scenario())


def test_cut_checkers_bite_and_heal() -> None:
    async def scenario() -> None:
        async with world() as here:
            here.checks.cut("eu-west-1", CHECKER_REGIONS[:6])
            await eventually(lambda: _share(here, "eu-west-1"), 0.25)
            assert await here.answers() == here.ips("eu-west-1/1", "eu-west-1/2"), (
                "a quarter still reaches it"
            )
            here.checks.cut("eu-west-1")
            await eventually(here.answers, here.ips("us-east-1/1", "us-east-1/2"))
            here.checks.heal("eu-west-1")
            await eventually(here.answers, here.ips("eu-west-1/1", "eu-west-1/2"))
            with pytest.raises(HoldfastError, match="no health check nowhere"):
                here.checks.cut("nowhere")

    asyncio.run(scenario())


async def _share(here: World, check_id: str) -> float:
    return here.checks.status()[check_id].healthy_share


def test_checkers_ask_dns_and_say_who_they_are() -> None:
    async def scenario() -> None:
        async with world() as here:
            node = here.nodes["eu-west-1/1"]
            async with asyncio.timeout(DEADLINE_S):
                while not any("Host: eu-west-1.api.test:" in sent for sent in node.requests):
                    await asyncio.sleep(0.02)
            assert all(sent.startswith("GET /_hf/health HTTP/1.1\r\n") for sent in node.requests)
            assert all("User-Agent: Amazon-Route53-Health-Check-Service" in sent for sent in node.requests)

    asyncio.run(scenario())


def test_down_is_a_black_hole_and_up_ends_it() -> None:
    async def scenario() -> None:
        async with world() as here:
            at = (here.network.dns_ip, here.dns.port)
            here.dns.down()
            with pytest.raises(EnvironmentProblem, match=r"no answer .* within 0.2 s"):
                await resolve(at, "api.test", timeout_s=0.2)
            assert here.dns.dropped >= 1
            await eventually(lambda: _healthy(here, "eu-west-1"), False)
            assert "DNS resolution failed" in here.checks.status()["eu-west-1"].last_failure
            here.dns.up()
            await eventually(here.answers, here.ips("eu-west-1/1", "eu-west-1/2"))

    asyncio.run(scenario())


def test_tcp_answers_several_questions_and_survives_nonsense() -> None:
    async def scenario() -> None:
        async with world() as here:
            at = (here.network.dns_ip, here.dns.port)
            _, writer = await asyncio.open_connection(*at)
            writer.write(b"\xff\xffnonsense")
            writer.close()
            reader, writer = await asyncio.open_connection(*at)
            packet = question("us-east-1.api.test")
            writer.write((len(packet).to_bytes(2) + packet) * 2)
            for _ in range(2):
                reply = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                assert set(read_answer(reply)[1]) == here.ips("us-east-1/1", "us-east-1/2")
            assert read_answer(await over_tcp(at, question("nothing.api.test"))) == ("NXDOMAIN", [], 0)
            writer.close()

    asyncio.run(scenario())


def test_the_resolver_turns_to_tcp_for_long_answers() -> None:
    async def scenario() -> None:
        ips = tuple(f"10.0.0.{n}" for n in range(100))
        server = DnsServer(Responder(hosted("api.test", [Record("api.test", ips, 7)]), lambda check: True))
        await server.start("127.0.0.1")
        try:
            addresses, ttl_s = await resolve(("127.0.0.1", server.port), "api.test")
            assert (sorted(addresses), ttl_s) == (sorted(ips), 7)
        finally:
            await server.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_taken_port_is_explained(kind: socket.SocketKind) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("127.0.0.1", 0))
            if kind is socket.SOCK_STREAM:
                other.listen()
            server = DnsServer(Responder(hosted("api.test", []), lambda check: True))
            with pytest.raises(EnvironmentProblem, match=rf"cannot listen on .*taken by .*pid {os.getpid()}"):
                await server.start("127.0.0.1", other.getsockname()[1])
            await server.start("127.0.0.1")
            assert server.port
            await server.stop()

    asyncio.run(scenario())


def test_a_foreign_address_is_explained() -> None:
    server = DnsServer(Responder(hosted("api.test", []), lambda check: True))
    with pytest.raises(EnvironmentProblem, match=r"192\.0\.2\.1"):
        asyncio.run(server.start("192.0.2.1", 53535))


def test_detection_takes_as_long_as_it_should() -> None:
    """A real fleet of 16 on a refusing node: between (threshold - 1) and threshold intervals, and then some."""

    async def scenario() -> float:
        done = asyncio.Event()
        checks = HealthChecks(on_change=lambda check, healthy: done.set())
        with socket.create_server(("127.0.0.1", 0)) as server:
            node = Address("127.0.0.1", server.getsockname()[1])
        checks.add(Check("node", node, HealthCheck(0.4, 0.6, 3, 3), fleet=Fleet()))
        start = asyncio.get_running_loop().time()
        checks.start()
        async with asyncio.timeout(DEADLINE_S):
            await done.wait()
        took_s = asyncio.get_running_loop().time() - start
        await checks.stop()
        return took_s

    assert 0.8 <= asyncio.run(scenario()) <= 3.0
