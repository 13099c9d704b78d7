"""A closed-loop HTTP/1.1 load generator on one core: keep-alive connections, one request under way on each.

``python -m bench.loadgen URL --connections 32 --seconds 3 --json``. For side-by-side ratios on one machine,
not for latency under a given arrival rate: a closed loop slows down with the server it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop


@dataclass(frozen=True, slots=True)
class Result:
    """``statuses``: answers by status code; ``failed``: connections lost with a request under way."""

    seconds: float
    statuses: dict[int, int]
    failed: int
    p50_ms: float
    p99_ms: float

    @property
    def requests(self) -> int:
        """Answers of any status."""
        return sum(self.statuses.values())

    @property
    def rps(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    def as_text(self) -> str:
        """Two lines for a person."""
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        speed = f"{self.rps:.0f} requests/s, p50 {self.p50_ms} ms, p99 {self.p99_ms} ms"
        return f"{speed}\n{statuses}; connections lost in a request: {self.failed}"

    def as_json(self) -> str:
        """One line of JSON with all fields, the totals included."""
        return json.dumps(
            {
                "rps": round(self.rps, 1),
                "requests": self.requests,
                "statuses": self.statuses,
                "failed": self.failed,
                "p50_ms": self.p50_ms,
                "p99_ms": self.p99_ms,
            }
        )


@dataclass(slots=True)
class Tally:
    """What all connections write to while the load runs."""

    until: float
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0


class Connection(asyncio.Protocol):
    """Sends the next request when the last one is answered, until time is up or the server closes."""

    def __init__(self, request: bytes, tally: Tally, done: asyncio.Future[None]) -> None:
        self._request = request
        self._tally = tally
        self._done = done
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of an answer."""
        now = time.perf_counter()
        status = self._parser.get_status_code()
        keep = self._parser.should_keep_alive()
        self._tally.statuses[status] += 1
        self._tally.latencies_s.append(now - self._sent)
        self.waiting = False
        if now < self._tally.until and keep:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting:
            self._tally.failed += 1
        if not self._done.done():
            self._done.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self.waiting = True
        self._transport.write(self._request)


def request_bytes(url: str, headers: dict[str, str]) -> bytes:
    """The one GET request that is repeated."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def run(url: str, connections: int, seconds: float, headers: dict[str, str] | None = None) -> Result:
    """Load ``url`` for ``seconds`` and count.

    Raises:
        OSError: nothing listens there.
    """
    begin = time.perf_counter()
    tally = Tally(until=begin + seconds)
    request = request_bytes(url, headers or {})
    await asyncio.gather(*(_keep_loading(url, request, tally) for _ in range(connections)))
    return _result(tally, time.perf_counter() - begin)


async def _keep_loading(url: str, request: bytes, tally: Tally) -> None:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    while time.perf_counter() < tally.until:
        done: asyncio.Future[None] = loop.create_future()
        connect = partial(Connection, request, tally, done)
        await loop.create_connection(connect, parts.hostname or "127.0.0.1", parts.port or 80)
        await done


def _result(tally: Tally, seconds: float) -> Result:
    latencies = sorted(tally.latencies_s) or [0.0]

    def percentile_ms(share: float) -> float:
        return round(1000 * latencies[min(len(latencies) - 1, int(share * len(latencies)))], 3)

    return Result(seconds, dict(tally.statuses), tally.failed, percentile_ms(0.50), percentile_ms(0.99))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of text")
    args = parser.parse_args()
    result = uvloop.run(run(args.url, args.connections, args.seconds))
    print(result.as_json() if args.json else result.as_text())


if __name__ == "__main__":
    main()
