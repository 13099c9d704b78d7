"""What the supervisor keeps and tells about one process, and the words for it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.errors import EnvironmentProblem
from holdfast.local.supervisor import children, lifecycle
from holdfast.local.supervisor.lifecycle import Backoff, Life
from holdfast.model import ProcessSpec, ProcessState


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One supervised process as others see it.

    ``started_at`` is Unix time in seconds of the last start; ``exit_code`` is negative for a signal;
    ``reason`` says why it is not running, with the last lines of its log.
    """

    name: str
    node: str | None
    state: ProcessState
    pid: int | None
    started_at: float | None
    restarts: int
    exit_code: int | None
    reason: str
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """A process has ended, or could not be started again, at Unix time ``t``.

    ``view.state`` says what comes next; ``expected``: it was asked to end, or killed by us.
    """

    t: float
    view: ProcessView
    expected: bool


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may change. ``clock`` gives Unix time for events; ``on_exit`` hears of every end."""

    clock: Callable[[], float] = time.time
    on_exit: Callable[[Exit], object] = lambda exit_: None
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(slots=True)
class Child:
    """One supervised process, alive or not.

    ``killed``: we sent SIGKILL; ``log_start``: where in the log its last start begins, in bytes;
    ``strays``: groups of frozen descendants that left its own.
    """

    spec: ProcessSpec
    rules: lifecycle.Rules
    life: Life = field(default_factory=Life)
    process: subprocess.Popen[bytes] | None = None
    started_at: float | None = None
    log_start: int = 0
    paused: bool = False
    strays: frozenset[int] = frozenset()
    killed: bool = False
    timer: asyncio.TimerHandle | None = None
    probe: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def view(self) -> ProcessView:
        """A copy for others."""
        life, pid = self.life, self.process.pid if self.process else None
        return ProcessView(
            name=self.spec.name,
            node=self.spec.node,
            state=life.state,
            pid=pid,
            started_at=self.started_at,
            restarts=life.restarts,
            exit_code=life.exit_code,
            reason=life.reason,
            paused=self.paused,
        )


async def until(child: Child, states: frozenset[ProcessState]) -> None:
    """Wait until the process is in one of ``states``."""
    while child.life.state not in states:
        await child.changed.wait()


def not_ready(child: Child, message: str) -> EnvironmentProblem:
    """The error for a process that did not become ready, with the end of its log."""
    last = child.life.reason or children.log_tail(child.spec.log, child.log_start)
    return EnvironmentProblem(
        f"{message}: {last}" if last else message, hint=f"its whole output is in {child.spec.log}"
    )


def why_ended(child: Child, code: int) -> str:
    """Why a process ended, in words, with the end of what it wrote since its last start."""
    words = children.exit_words(code)
    if child.killed and code == -signal.SIGKILL:
        words = f"{words}, by Holdfast"
    tail = children.log_tail(child.spec.log, child.log_start)
    return f"{words}\n{tail}" if tail else words


def words_for(child: Child) -> str:
    """What a change of state means, in one line."""
    life = child.life
    first_line = life.reason.split("\n", 1)[0]
    match life.state:
        case ProcessState.BACKOFF:
            delay_s = child.rules.backoff.delay_s(max(life.failures, 1))
            return f"ended ({first_line}); starts again in {delay_s:g} s"
        case ProcessState.FATAL:
            return (
                f"gave up after {life.quick_failures} failures ({first_line})"
                if life.quick_failures
                else first_line
            )
        case ProcessState.EXITED:
            return f"ended ({first_line})" if first_line else "ended"
        case _:
            return life.state.value
