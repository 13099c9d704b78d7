"""A stub resolver: one question, one answer, nothing kept. For tests and the command line."""

from __future__ import annotations

import asyncio

from holdfast.errors import EnvironmentProblem
from holdfast.local.dns import wire


class _Exchange(asyncio.DatagramProtocol):
    """Waits for the datagram that carries the question's id."""

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        transport.sendto(self.packet)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self.packet[:2] and not self.reply.done():
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def resolve(server: tuple[str, int], name: str, timeout_s: float = 2.0) -> tuple[list[str], int]:
    """The addresses of ``name`` in the order received and their TTL in seconds; ``([], 0)`` for none.

    Raises:
        EnvironmentProblem: the server does not answer within ``timeout_s``, or answers nonsense.
    """
    exchange = _Exchange(wire.question(name))
    at = f"{server[0]}:{server[1]}"
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: exchange, remote_addr=server)
    try:
        reply = await asyncio.wait_for(exchange.reply, timeout_s)
        if wire.is_truncated(reply):
            reply = await asyncio.wait_for(over_tcp(server, exchange.packet), timeout_s)
        _, addresses, ttl_s = wire.read_answer(reply)
    except TimeoutError:
        raise EnvironmentProblem(f"no answer from the DNS server at {at} within {timeout_s:g} s") from None
    except (OSError, EOFError, ValueError) as error:
        raise EnvironmentProblem(f"the DNS server at {at} cannot be asked: {error}") from error
    finally:
        transport.close()
    return addresses, ttl_s


async def over_tcp(server: tuple[str, int], packet: bytes) -> bytes:
    """Send one packet over TCP and return the reply (RFC 1035 4.2.2: two bytes of length before each).

    Raises:
        OSError: no connection.
        EOFError: the server hung up before it answered.
    """
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(packet).to_bytes(2) + packet)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
    finally:
        writer.close()
