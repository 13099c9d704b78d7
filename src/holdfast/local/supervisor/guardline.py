"""The supervisor's end of the line to its guard: names the process groups and replaces a guard that dies."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from holdfast.local.supervisor import children

SHORTEST_LIFE_S = 0.5
"""A guard that lives shorter than this cannot run here; it is not started again."""


class Guard(Protocol):
    """What the supervisor asks of a guard."""

    def open(self, lost: Callable[[str], None]) -> None:
        """Begin to watch; ``lost`` is called with words for people each time the guard had to be replaced."""

    def watch(self, group: int) -> None:
        """This process group exists now and must not outlive the supervisor."""

    def forget(self, group: int) -> None:
        """This process group is gone; its number may be used by somebody else."""

    async def close(self) -> None:
        """The supervisor ends in good order: what is left now is killed."""


class GuardLine:
    """The guard process of a run.

    ``record`` notes each new group, so that it can be found after supervisor and guard were both killed.
    """

    def __init__(self, run_id: str, record: Callable[[int], None] = lambda group: None) -> None:
        self._run_id = run_id
        self._record = record
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._lost: Callable[[str], None] = lambda message: None
        self._gone = asyncio.Event()
        self._started_at = 0.0

    @property
    def pid(self) -> int | None:
        """The guard's process id while there is one."""
        return self._process.pid if self._process else None

    def open(self, lost: Callable[[str], None]) -> None:
        """Start the guard.

        Raises:
            OSError: it cannot be started.
        """
        self._lost = lost
        self._start()

    def watch(self, group: int) -> None:
        """Tell the guard of a new group."""
        self._groups.add(group)
        self._record(group)
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Tell the guard that a group is gone."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    async def close(self) -> None:
        """Hang up and wait until the guard has killed what it still finds."""
        process, self._process = self._process, None
        if process is None:
            return
        _hang_up(process)
        await self._gone.wait()

    def _start(self) -> None:
        process = self._process = children.spawn_guard(self._run_id)
        self._started_at = asyncio.get_running_loop().time()
        self._record(process.pid)
        os.set_blocking(_line(process), False)
        self._gone.clear()
        children.when_ended(process, lambda: self._ended(process))
        for group in self._groups:
            self._tell(f"+{group}\n")

    def _tell(self, line: str) -> None:
        if self._process is None:
            return
        try:
            os.write(_line(self._process), line.encode())
        except BlockingIOError:  # frozen, and its pipe is full: its end brings the next one
            self._process.kill()
        except BrokenPipeError:
            return

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        self._gone.set()
        if process is not self._process:
            return
        _hang_up(process)
        self._process = None
        died = f"the guard process died ({children.exit_words(code)})"
        if asyncio.get_running_loop().time() - self._started_at < SHORTEST_LIFE_S:
            self._lost(
                f"{died} right after its start; if Holdfast is killed now, end the rest with `holdfast down`"
            )
            return
        self._start()
        self._lost(f"{died}; started another, pid {self.pid}")


def _line(process: subprocess.Popen[bytes]) -> int:
    assert process.stdin is not None
    return process.stdin.fileno()


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
