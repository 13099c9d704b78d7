"""Processes that outlived their run, because its supervisor and its guard were both killed.

A leftover is recognised by the run id in its environment. A program may overwrite that memory (nginx and
PostgreSQL do, to show a title); those are found by the session they live in, noted in the run's journal.
Never by name; and what is killed is what was looked at, by process id and time of creation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from holdfast.errors import EnvironmentProblem
from holdfast.local.guard import TAG

GONE_WITHIN_S = 5.0
LOOK_AGAIN_S = 0.1
SAME_TIME_S = 1.0
"""Times of creation that differ by less belong to the same process; the kernel's clock has coarse ticks."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that was killed because its run was dead. ``name`` is for the reader."""

    pid: int
    name: str


def boot_id() -> str:
    """What process ids are unique within: this start of the machine, and the container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{psutil.boot_time():.0f}"


class Journal:
    """The process groups of a run, a line each: id and Unix time of creation of its leader in seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, group: int) -> None:
        """Note a group that has just been started."""
        # The third net: losing a line to a full disk is no reason to refuse a process that the others hold.
        with suppress(OSError, psutil.Error), self._path.open("a", encoding="ascii") as file:
            file.write(f"{group} {psutil.Process(group).create_time():.2f}\n")

    def groups(self) -> dict[int, float]:
        """Id to time of creation; a torn last line is left out."""
        try:
            rows = [line.split() for line in self._path.read_text(encoding="ascii").splitlines()]
        except (OSError, UnicodeDecodeError):
            return {}
        found: dict[int, float] = {}
        for row in rows:
            with suppress(ValueError, IndexError):
                found[int(row[0])] = float(row[1])
        return found


def kill(is_dead: Callable[[str], bool], groups: Mapping[int, float]) -> tuple[Leftover, ...]:
    """SIGKILL whatever carries a dead run's tag or lives in one of its ``groups``; returns what was killed.

    Raises:
        EnvironmentProblem: some do not go away.
    """
    killed: dict[int, Leftover] = {}
    end = time.monotonic() + GONE_WITHIN_S
    while found := find(is_dead, groups):
        if time.monotonic() > end:
            raise _immortal(found)
        for process in found:
            with suppress(psutil.Error):
                killed[process.pid] = Leftover(process.pid, process.name())
                process.kill()
        psutil.wait_procs(found, timeout=LOOK_AGAIN_S)
    return tuple(killed.values())


def find(is_dead: Callable[[str], bool], groups: Mapping[int, float]) -> list[psutil.Process]:
    """The leftovers, never this process or one it was started from."""
    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in spared and _may_kill(process) and _left_over(process, is_dead, groups)
    ]


def _may_kill(process: psutil.Process) -> bool:
    try:
        mine = os.getuid() in (0, process.uids().real)
        return mine and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _left_over(process: psutil.Process, is_dead: Callable[[str], bool], groups: Mapping[int, float]) -> bool:
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        environment = {}
    if TAG in environment:
        return is_dead(environment[TAG])
    return not environment and _member(process, groups)


def _member(process: psutil.Process, groups: Mapping[int, float]) -> bool:
    """Whether it belongs to a recorded session whose number has not been given to somebody else since."""
    try:
        leader = os.getsid(process.pid)
        if leader not in groups or process.create_time() < groups[leader] - SAME_TIME_S:
            return False
        return abs(psutil.Process(leader).create_time() - groups[leader]) < SAME_TIME_S
    except psutil.NoSuchProcess:
        return True  # the leader died first; its number stays taken as long as a member lives
    except (psutil.Error, OSError):
        return False


def _immortal(processes: list[psutil.Process]) -> EnvironmentProblem:
    ids = ", ".join(str(process.pid) for process in processes)
    return EnvironmentProblem(
        f"processes of an earlier run do not end: {ids}",
        hint="they hang in the kernel or belong to another user; look at them with `ps`",
    )
