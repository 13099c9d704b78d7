"""One probe of one health checker, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

NO_ROUTE = (
    "Connection timed out. The endpoint or the connection to it is down, or a firewall blocks the requests."
)
NO_NAME = "DNS resolution failed: no A record."


AGENT = "Amazon-Route53-Health-Check-Service"
"""How a checker's request can be told (DeveloperGuide/health-checks-how-route-53-chooses-records.html)."""


@dataclass(frozen=True, slots=True)
class Address:
    """An endpoint given by its address."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Name:
    """An endpoint given by a domain name; each probe asks DNS and takes one of the addresses it gets.

    https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-creating-values-endpoint.html
    """

    name: str
    port: int


Target = Address | Name
Lookup = Callable[[str], tuple[str, ...]]
"""From a domain name to its addresses; empty where there are none."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What is asked and how long it may take: the TCP connection, and the HTTP status after it."""

    request: bytes
    connect_timeout_s: float
    response_timeout_s: float


def request(target: Target, path: str, check_id: str) -> bytes:
    """The HTTP request of a checker; ``Host`` is the name or address, with the port unless it is 80."""
    host = target.name if isinstance(target, Name) else target.ip
    host = host if target.port == 80 else f"{host}:{target.port}"
    path = path if path.startswith("/") else f"/{path}"
    agent = f"{AGENT} (ref {check_id}; holdfast)"
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: {agent}",
        "Accept: */*",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode()


async def probe(ip: str, port: int, ask: Probe) -> str:
    """Why the endpoint fails the check; "" when it connects in time and says 2xx or 3xx in time."""
    try:
        async with asyncio.timeout(ask.connect_timeout_s):
            reader, writer = await asyncio.open_connection(ip, port)
    except TimeoutError:
        return NO_ROUTE
    except OSError as error:
        return f"Connection failed: {error.strerror or error}."
    try:
        return await _exchange(reader, writer, ask)
    except TimeoutError:
        return f"The endpoint did not send an HTTP status within {ask.response_timeout_s:g} s."
    except (OSError, ValueError) as error:
        return f"The endpoint broke off or did not speak HTTP: {error}."
    finally:
        writer.close()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask: Probe) -> str:
    async with asyncio.timeout(ask.response_timeout_s):
        writer.write(ask.request)
        line = await reader.readline()
    status = _status(line)
    return "" if 200 <= status < 400 else f"HTTP Status Code {status}{_phrase(status)}."


def _status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/") or not rest[:3].isdigit():
        raise ValueError("no HTTP status line" if line else "connection closed without an answer")
    return int(rest[:3])


def _phrase(status: int) -> str:
    try:
        return f", {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
