"""The event log of a run: a file of JSON lines, and the last events in memory for whoever follows.

Events are numbered from 1 without gaps. A disk that fills up must not take the running system down:
events then stay in memory, ``problem`` says so, and writing goes on when there is room again.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import EnvironmentProblem
from holdfast.local import disk
from holdfast.model import Event

KEEP = 2000


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event with its number."""

    id: int
    event: Event


class EventLog:
    """Append-only log at ``path``; keeps the last ``keep`` events in memory. For one thread.

    Raises:
        EnvironmentProblem: the file cannot be opened.
    """

    def __init__(self, path: Path, keep: int = KEEP) -> None:
        self.path = path
        self.problem: EnvironmentProblem | None = None
        self._ring: deque[Numbered] = deque(maxlen=keep)
        self._last = 0
        self._news = asyncio.Event()
        self._torn = False
        with disk.writing(path):
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @property
    def last(self) -> int:
        """The number of the newest event, 0 before the first."""
        return self._last

    def append(self, event: Event) -> int:
        """Number an event, keep it, write its line, wake the followers; returns the number. Never raises."""
        self._last += 1
        self._ring.append(Numbered(self._last, event))
        self._write(self._ring[-1])
        self._news.set()
        self._news = asyncio.Event()
        return self._last

    def after(self, after_id: int) -> tuple[Numbered, ...]:
        """The events in memory with a number above ``after_id``, oldest first."""
        return tuple(numbered for numbered in self._ring if numbered.id > after_id)

    async def wait(self, after_id: int, timeout_s: float) -> tuple[Numbered, ...]:
        """As :meth:`after`, but wait up to ``timeout_s`` for the first one; empty where none came."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._last <= after_id:
                    await self._news.wait()
        except TimeoutError:
            return ()
        return self.after(after_id)

    async def follow(self, after_id: int = 0) -> AsyncIterator[Numbered]:
        """Every event after ``after_id``, without end. Who falls behind what is in memory misses some."""
        while True:
            for numbered in self.after(after_id):
                after_id = numbered.id
                yield numbered
            if self._last <= after_id:
                await self._news.wait()

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, numbered: Numbered) -> None:
        if self._file < 0:
            return
        line = (b"\n" if self._torn else b"") + _line(numbered)
        try:
            written = os.write(self._file, line)
        except OSError as error:
            self.problem = disk.problem(error, self.path)
            return
        self._torn = written < len(line)
        self.problem = disk.problem(OSError(errno.ENOSPC, ""), self.path) if self._torn else None


def _line(numbered: Numbered) -> bytes:
    event = numbered.event
    row = {
        "id": numbered.id,
        "t": event.t,
        "kind": event.kind,
        "subject": event.subject,
        "message": event.message,
    }
    return json.dumps({**row, "data": dict(event.data)}, default=str).encode() + b"\n"
