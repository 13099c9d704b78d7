"""A small HTTP/1.1 server on ``httptools``: whole requests in, whole replies out, kept alive.

Both ends of the data path use it (callers and the Runtime API). Bodies are buffered because Lambda buffers
them too. One exchange of a connection is served at a time; the next waits its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import cast

import httptools

REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
Headers = Iterable[tuple[bytes, bytes]]
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")


class Exchange:
    """One request and the one chance to answer it. ``too_long``: its body passed the limit, was dropped."""

    __slots__ = (
        "_done", "body", "gone", "headers", "keep_alive", "method", "on_gone", "target", "too_long",
        "transport",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, done: Callable[[], None]) -> None:
        self.method = ""
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.too_long = False
        self.keep_alive = True
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.transport = transport
        self._done = done

    @property
    def peer(self) -> str:
        """The caller's address."""
        name = self.transport.get_extra_info("peername")
        return str(name[0]) if name else ""

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer; a caller that has left gets nothing."""
        # uvloop raises on a closed transport, and closes it a moment before it says so.
        if self.gone or self.transport.is_closing():
            return
        self.transport.write(_head(self, status, headers, body))
        if not self.keep_alive:
            self.transport.close()
        self._done()


def _head(exchange: Exchange, status: int, headers: Headers, body: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d %s\r\n" % (status, REASONS.get(status, b""))]
    lines += [b"%s: %s\r\n" % header for header in headers]
    # RFC 9110 8.6: no length where there can be no content.
    if status >= 200 and status not in (204, 304):
        lines.append(b"content-length: %d\r\n" % len(body))
    if not exchange.keep_alive:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    if exchange.method != "HEAD" and status not in (204, 304):
        lines.append(body)
    return b"".join(lines)


class Connection(asyncio.Protocol):
    """One caller's connection. ``serve`` gets each request; ``lost`` runs once, when the connection ends.

    A body over ``limit`` bytes is read to its end and dropped: its request arrives marked ``too_long``.
    """

    def __init__(
        self, serve: Callable[[Exchange], None], limit: int, lost: Callable[[], None] | None = None
    ) -> None:
        self._serve = serve
        self._limit = limit
        self._lost = lost
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._transport: asyncio.Transport
        self._reading: Exchange

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for exchange in (*self._queue, *([self._current] if self._current else [])):
            exchange.gone = True
            if exchange.on_gone:
                exchange.on_gone()
        self._queue.clear()
        if self._lost:
            self._lost()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request is answered as if it had not asked; what follows it in its new protocol is not read.
            self._transport.pause_reading()
        except httptools.HttpParserCallbackError:
            # Our own error, not the caller's: the event loop reports it and drops the connection.
            raise
        except httptools.HttpParserError:
            if not self._transport.is_closing():
                self._transport.write(BAD_REQUEST)
                self._transport.close()

    # The callbacks below have httptools' names.

    def on_message_begin(self) -> None:
        self._reading = Exchange(self._transport, self._next)
        self._chunks, self._size = [], 0

    def on_url(self, url: bytes) -> None:
        self._reading.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._reading.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._reading.method = self._parser.get_method().decode("ascii")
        if any(name.lower() == b"expect" for name, _ in self._reading.headers):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= self._limit:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        exchange = self._reading
        exchange.keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        exchange.too_long = self._size > self._limit
        exchange.body = b"" if exchange.too_long else b"".join(self._chunks)
        self._chunks = []
        self._queue.append(exchange)
        if self._current is None:
            self._next()

    def _next(self) -> None:
        self._current = self._queue.popleft() if self._queue else None
        if self._current is not None:
            self._serve(self._current)
