"""The Runtime API that AWS's runtime client talks to, one listening port for each environment.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass
from typing import Protocol

from holdfast.local.functions.wire import JSON, Connection, Exchange

PREFIX = "/2018-06-01/runtime/"
ACCEPTED = b'{"status": "OK"}'


@dataclass(frozen=True, slots=True)
class Invocation:
    """One event on its way to an environment. ``deadline_ms`` is Unix time."""

    id: str
    event: bytes
    arn: str
    deadline_ms: int
    trace_id: str


class Listener(Protocol):
    """Who is told what the environments say."""

    def on_next(self, environment: str) -> None:
        """It is ready for an invocation."""

    def on_response(self, environment: str, request: str, answer: bytes | None) -> None:
        """It has answered; ``None``: with more bytes than Lambda carries."""

    def on_error(self, environment: str, request: str, error: str) -> None:
        """Its handler has raised."""

    def on_init_error(self, environment: str, error: str) -> None:
        """It could not initialise."""

    def on_closed(self, environment: str) -> None:
        """Its last connection has closed, which is what the end of the process looks like from here."""


class Port:
    """The Runtime API as one environment sees it."""

    def __init__(self, environment: str, host: str, listener: Listener, limit: int) -> None:
        self.environment = environment
        self._listener = listener
        self._limit = limit
        self._asking: Exchange | None = None
        self._connections = 0
        self._server: asyncio.Server | None = None
        # Bound at once, so that the address is known before the event loop gets to listen.
        self._socket = socket.create_server((host, 0))
        self.address = f"{host}:{self._socket.getsockname()[1]}"

    async def listen(self) -> None:
        """Accept the environment's connections."""
        self._server = await asyncio.get_running_loop().create_server(self._connect, sock=self._socket)

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        self._socket.close()

    def deliver(self, invocation: Invocation) -> None:
        """Answer the environment's request for the next invocation."""
        asking, self._asking = self._asking, None
        if asking is None:
            return
        headers = (
            JSON,
            (b"Lambda-Runtime-Aws-Request-Id", invocation.id.encode()),
            (b"Lambda-Runtime-Deadline-Ms", b"%d" % invocation.deadline_ms),
            (b"Lambda-Runtime-Invoked-Function-Arn", invocation.arn.encode()),
            (b"Lambda-Runtime-Trace-Id", invocation.trace_id.encode("latin-1")),
        )
        asking.reply(200, headers, invocation.event)

    def _connect(self) -> Connection:
        self._connections += 1
        return Connection(self._serve, self._limit, self._lost)

    def _lost(self) -> None:
        self._connections -= 1
        if not self._connections:
            self._listener.on_closed(self.environment)

    def _serve(self, exchange: Exchange) -> None:
        path = exchange.target.decode("latin-1").removeprefix(PREFIX)
        match exchange.method, path.split("/"):
            case "GET", ["invocation", "next"]:
                self._asking = exchange
                self._listener.on_next(self.environment)
            case "POST", ["invocation", request, "response"]:
                self._response(exchange, request)
            case "POST", ["invocation", request, "error"]:
                exchange.reply(202, (JSON,), ACCEPTED)
                self._listener.on_error(self.environment, request, _describe(exchange.body))
            case "POST", ["init", "error"]:
                exchange.reply(202, (JSON,), ACCEPTED)
                self._listener.on_init_error(self.environment, _describe(exchange.body))
            case _:
                exchange.reply(404, (JSON,), b'{"errorMessage": "no such resource", "errorType": "NotFound"}')

    def _response(self, exchange: Exchange, request: str) -> None:
        if exchange.too_long:
            message = f"Exceeded maximum allowed payload size ({self._limit} bytes)."
            body = json.dumps({"errorMessage": message, "errorType": "RequestEntityTooLarge"})
            exchange.reply(413, (JSON,), body.encode())
        else:
            exchange.reply(202, (JSON,), ACCEPTED)
        self._listener.on_response(self.environment, request, None if exchange.too_long else exchange.body)


def _describe(body: bytes) -> str:
    """``Type: message`` from the runtime's error document, or the beginning of whatever it sent instead."""
    try:
        fields = json.loads(body)
        return f"{fields['errorType']}: {fields['errorMessage']}"
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
