"""The HTTP server, fed bytes through a transport that only remembers."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
import pytest

from holdfast.local.functions.wire import Connection, Exchange


class Transport(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 4711) if name == "peername" else default


class Caller:
    """One connection from the caller's side. Requests pile up in ``requests`` until the test answers them."""

    def __init__(self, limit: int = 100) -> None:
        self.requests: list[Exchange] = []
        self.lost = 0
        self.connection = Connection(self.requests.append, limit, self._lose)
        self.transport = Transport()
        self.connection.connection_made(self.transport)

    def _lose(self) -> None:
        self.lost += 1

    def send(self, *data: bytes) -> None:
        for part in data:
            self.connection.data_received(part)

    def received(self) -> bytes:
        written, self.transport.written = self.transport.written, b""
        return written


GET = b"GET /a?b=1 HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n"


def test_a_request_arrives_whole_however_it_is_cut() -> None:
    request = b"POST /a%20b?c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    caller = Caller()
    caller.send(*[request[i : i + 1] for i in range(len(request))])
    (exchange,) = caller.requests
    assert (exchange.method, exchange.target, exchange.body) == ("POST", b"/a%20b?c", b"hello")
    assert exchange.headers == [(b"Host", b"h"), (b"Content-Length", b"5")]
    assert exchange.peer == "127.0.0.1"


def test_a_connection_is_kept_for_the_next_request() -> None:
    caller = Caller()
    for body in (b"one", b"two"):
        caller.send(GET)
        caller.requests[-1].reply(200, [(b"a", b"b")], body)
        assert caller.received() == b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 3\r\n\r\n" + body
    assert not caller.transport.closed


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    caller = Caller()
    caller.send(GET + GET.replace(b"/a", b"/z"))
    assert [exchange.target for exchange in caller.requests] == [b"/a?b=1"]
    caller.requests[0].reply(200, [], b"1")
    assert [exchange.target for exchange in caller.requests] == [b"/a?b=1", b"/z?b=1"]


@pytest.mark.parametrize(
    "closing", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"]
)
def test_a_caller_that_does_not_keep_the_connection_is_let_go(closing: bytes) -> None:
    caller = Caller()
    caller.send(closing)
    caller.requests[0].reply(200, [], b"")
    assert b"connection: close\r\n" in caller.received()
    assert caller.transport.closed


@pytest.mark.parametrize(
    ("request_line", "status", "answer"),
    [
        (b"HEAD / HTTP/1.1", 200, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"),
        (b"GET / HTTP/1.1", 204, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET / HTTP/1.1", 304, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (b"GET / HTTP/1.1", 599, b"HTTP/1.1 599 \r\ncontent-length: 4\r\n\r\nbody"),
    ],
)
def test_answers_without_content(request_line: bytes, status: int, answer: bytes) -> None:
    caller = Caller()
    caller.send(request_line + b"\r\n\r\n")
    caller.requests[0].reply(status, [], b"body")
    assert caller.received() == answer


def test_a_body_over_the_limit_is_dropped_and_marked() -> None:
    caller = Caller(limit=4)
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    caller.send(head + b"4\r\nfour\r\n0\r\n\r\n")
    caller.requests[0].reply(200, [], b"")
    caller.send(head + b"4\r\nfour\r\n", b"1\r\n5\r\n0\r\n\r\n")
    assert [(exchange.body, exchange.too_long) for exchange in caller.requests] == [
        (b"four", False),
        (b"", True),
    ]


def test_a_caller_that_asks_first_is_told_to_continue() -> None:
    caller = Caller()
    caller.send(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert caller.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    caller.send(b"x")
    assert caller.requests[0].body == b"x"


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
)
def test_what_is_not_http_ends_the_connection(garbage: bytes) -> None:
    caller = Caller()
    caller.send(garbage)
    assert caller.received().startswith(b"HTTP/1.1 400 ")
    assert caller.transport.closed


def test_an_error_of_ours_is_not_blamed_on_the_caller() -> None:
    caller = Caller()
    connection = Connection(lambda exchange: pytest.fail("ours"), 100)
    connection.connection_made(caller.transport)
    with pytest.raises(httptools.HttpParserCallbackError):
        connection.data_received(GET)
    assert caller.received() == b""


def test_an_upgrade_is_not_taken_up() -> None:
    caller = Caller()
    caller.send(b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    caller.requests[0].reply(200, [], b"")
    assert caller.received() == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    assert (caller.transport.paused, caller.transport.closed) == (True, True)


def test_nothing_is_written_on_a_closed_transport() -> None:
    caller = Caller()
    caller.send(GET)
    caller.transport.close()
    caller.requests[0].reply(200, [], b"late")
    assert caller.received() == b""


def test_who_has_left_gets_no_answer_and_is_told_of_once() -> None:
    caller = Caller()
    caller.send(GET + GET)
    left: list[str] = []
    caller.requests[0].on_gone = lambda: left.append("gone")
    caller.connection.connection_lost(None)
    caller.requests[0].reply(200, [], b"late")
    assert (left, caller.lost, caller.received(), len(caller.requests)) == (["gone"], 1, b"", 1)
