"""The control socket: JSON lines between a front and whoever starts its processes.

The front listens. A starter says ``{"starter": true}`` first and is then told everything, beginning with each
environment that is still to be started; other connections may ask for status or give orders.

::

    front says   {"want": n, "by_zone": {zone: n}}         how many environments there should be now
                 {"start": {...}}                          the fields of config.Start
                 {"retire": id, "reason": r, "now": bool}  idle, version, zone, timeout or init; now: kill it
                 {"version": n, "state": s, "error": e}    ready, failed or settled
    front hears  {"environment": id, "state": "exited", "reason": text}   also when a start did not succeed
                 {"zone": z, "state": "lost" or "back"}
                 {"version": n}                            shift the alias
                 {"probe": n}                              bring one environment up, without traffic
                 {"limits": {"concurrency": n, "provisioned": n}}
                 {"status": true}                          answered with {"status": {...}}

A line that is not one of these is answered with ``{"error": text}``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.errors import EnvironmentProblem
from holdfast.local.functions.messages import Exited, Limits, Message, Probe, Shift, ZoneChanged

Json = dict[str, Any]
LIMITS = ("concurrency", "provisioned")


def to_message(line: Json, now: float) -> Message:
    """The scheduler's message for one order.

    Raises:
        ValueError: not an order; the text says why.
    """
    match line:
        case {"environment": str(name), "state": "exited"}:
            return Exited(now, name, str(line.get("reason", "")))
        case {"zone": str(zone), "state": "lost" | "back" as state}:
            return ZoneChanged(now, zone, state == "lost")
        case {"version": version}:
            return Shift(now, _number("version", version))
        case {"probe": version}:
            return Probe(now, _number("probe", version))
        case {"limits": dict(limits)}:
            given = {name: _number(name, limits[name]) for name in LIMITS if name in limits}
            return Limits(now, **given)
    raise ValueError(f"not an order: {json.dumps(line)[:200]}")


def _number(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is {value!r}, not a number from 0 up")
    return value


class Control:
    """The socket and who listens on it.

    ``replay`` gives a new starter's first lines; ``answer`` carries a line out, and may raise ValueError.
    """

    def __init__(
        self, path: Path, replay: Callable[[], list[Json]], answer: Callable[[Json], Json | None]
    ) -> None:
        self._path = path
        self._replay = replay
        self._answer = answer
        self._starters: set[asyncio.StreamWriter] = set()
        self._talks: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, in place of whatever a front before this one left behind.

        Raises:
            EnvironmentProblem: the path is too long for a socket or its folder cannot be written.
        """
        try:
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._talk, self._path)
        except OSError as error:
            raise EnvironmentProblem(f"cannot listen on {self._path}: {error}") from error
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        talks = [task for task in self._talks.values() if task is not None]
        for writer in self._talks:
            writer.close()
        await asyncio.gather(*talks)
        self._path.unlink(missing_ok=True)

    def say(self, line: Json) -> None:
        """Tell every starter."""
        for writer in self._starters:
            _send(writer, line)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks[writer] = asyncio.current_task()
        try:
            while text := await reader.readline():
                self._hear(text, writer)
                await writer.drain()
        except (ConnectionError, ValueError):
            # A line longer than the reader's limit is a ValueError: nothing after it can be trusted.
            pass
        finally:
            del self._talks[writer]
            self._starters.discard(writer)
            writer.close()

    def _hear(self, text: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            line = json.loads(text)
            if line == {"starter": True}:
                self._starters.add(writer)
                for said in self._replay():
                    _send(writer, said)
                return
            answer = self._answer(line)
        except ValueError as error:
            answer = {"error": str(error)}
        if answer is not None:
            _send(writer, answer)


def _send(writer: asyncio.StreamWriter, line: Json) -> None:
    # Who has just died is still listed; on its closed transport uvloop raises, asyncio only warns.
    if not writer.is_closing():
        writer.write(json.dumps(line).encode() + b"\n")
