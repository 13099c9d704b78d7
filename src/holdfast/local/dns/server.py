"""The name server: UDP and TCP sockets around a :class:`Responder`, inside the caller's event loop."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any

from holdfast.errors import EnvironmentProblem
from holdfast.local.addresses import alias_hint, free_port, holder
from holdfast.local.dns.responder import Responder
from holdfast.local.dns.zone import HostedZone, Status

Emit = Callable[[str, str, str, dict[str, Any]], None]
"""Takes an event: kind, subject, message, data."""

TCP_IDLE_S = 10.0
"""An idle TCP client is hung up on after that (RFC 7766 6.2.3 asks for seconds)."""
PORT_ATTEMPTS = 20


def silent(kind: str, subject: str, message: str, data: dict[str, Any]) -> None:
    """An :data:`Emit` that nobody listens to."""


class DnsServer:
    """Answers on one address over UDP and TCP.

    ``down`` makes a black hole of it (packets are read and dropped), as when the network to it is cut; ``up``
    ends that. ``queries`` counts what was answered, ``dropped`` what fell into the hole.
    """

    def __init__(self, responder: Responder, emit: Emit = silent) -> None:
        self.responder = responder
        self.queries = 0
        self.dropped = 0
        self._emit = emit
        self._down = False
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._answered = self._current()

    @property
    def port(self) -> int:
        """The port in use, for UDP and TCP alike; 0 while not started."""
        return int(self._udp.get_extra_info("sockname")[1]) if self._udp else 0

    @property
    def is_down(self) -> bool:
        """Whether it is a black hole right now."""
        return self._down

    async def start(self, host: str, port: int = 0) -> None:
        """Listen on ``host``; port 0 takes one that is free for both UDP and TCP.

        Raises:
            EnvironmentProblem: the port is taken, is privileged, or the address is not on this machine.
        """
        for attempt in range(PORT_ATTEMPTS):
            chosen = port or free_port(host)
            try:
                await self._listen(host, chosen)
                break
            except OSError as error:
                await self.stop()
                if port or error.errno != errno.EADDRINUSE or attempt == PORT_ATTEMPTS - 1:
                    raise _cannot_listen(host, chosen, error) from error
        self._emit(
            "dns.started", self.responder.zone.name, f"name server on {host}:{self.port}", {"port": self.port}
        )

    async def _listen(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve, host, port)
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, port))

    async def stop(self) -> None:
        """Close both sockets and every TCP connection."""
        if self._udp:
            self._udp.close()
        if self._tcp:
            self._tcp.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._udp = self._tcp = None

    def set_zone(self, zone: HostedZone) -> None:
        """Answer from ``zone`` from the next packet on."""
        self.responder.refresh(zone)
        self._tell_changes()

    def refresh(self) -> None:
        """Health has changed: answer by it from the next packet on."""
        self.responder.refresh()
        self._tell_changes()

    def down(self) -> None:
        """Stop answering without closing anything: clients wait until their timeout."""
        self._down = True
        self._emit("dns.down", self.responder.zone.name, "name server no longer answers", {})

    def up(self) -> None:
        """Answer again."""
        self._down = False
        self._emit("dns.up", self.responder.zone.name, "name server answers again", {})

    def lookup(self, name: str) -> tuple[str, ...]:
        """The addresses a health checker or proxy in this process gets for ``name``; none while down."""
        return () if self._down else self.responder.lookup(name).values

    def reply(self, data: bytes, source: str, *, tcp: bool = False) -> bytes | None:
        """What to send back for one packet, counted."""
        if self._down:
            self.dropped += 1
            return None
        self.queries += 1
        return self.responder.respond(data, source, tcp=tcp)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
            pass  # the client left, idled, or we stop: nobody is there to be told
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = writer.get_extra_info("peername")[0]
        while True:
            async with asyncio.timeout(TCP_IDLE_S):
                data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                packed = self.reply(data, source, tcp=True)
                if packed is not None:
                    writer.write(len(packed).to_bytes(2) + packed)
                    await writer.drain()

    def _current(self) -> dict[str, list[str]]:
        outcomes = {name: self.responder.outcome(name) for name in self.responder.zone.groups}
        return {
            name: sorted({value for option in outcome.options for value in option.values})
            for name, outcome in outcomes.items()
            if outcome.status is Status.ANSWER
        }

    def _tell_changes(self) -> None:
        before, self._answered = self._answered, self._current()
        for name, values in self._answered.items():
            if before.get(name) != values:
                message = f"{name} now answers {', '.join(values)}"
                self._emit("dns.answer", name, message, {"values": values, "before": before.get(name, [])})


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        packed = self._server.reply(data, addr[0])
        if packed is not None:
            self._transport.sendto(packed, addr)


def _cannot_listen(host: str, port: int, error: OSError) -> EnvironmentProblem:
    where = f"the DNS server cannot listen on {host}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            return EnvironmentProblem(f"{where}: taken by {holder(host, port)}", hint="choose another port")
        case errno.EACCES:
            return EnvironmentProblem(
                f"{where}: not permitted", hint="ports below 1024 need root; choose a higher one"
            )
        case errno.EADDRNOTAVAIL:
            return EnvironmentProblem(f"{where}: no such address on this machine", hint=alias_hint([host]))
        case _:
            return EnvironmentProblem(f"{where}: {error.strerror or error}")
