"""The life of one process as a pure function: state and message in, state and actions out.

::

              start            ready                      stop, kill for good
    (nothing) ─────► STARTING ───────► RUNNING ──────────────────────────► STOPPING ──► EXITED
                      ▲    └──── exit ────┤  exit, not to be restarted ─────────────────► EXITED
                delay │                   ▼
                      └──────────────  BACKOFF ── too many quick failures ──────────────► FATAL

A failure is an exit nobody asked for; *quick* when the process was ready for less than ``quick_s`` or never.
Nothing here reads a clock, starts a process or sleeps: time comes in with each message, deadlines go out as
``Life.wake_at``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from holdfast.errors import HoldfastError
from holdfast.model import ProcessSpec, ProcessState

STARTING, RUNNING, BACKOFF = ProcessState.STARTING, ProcessState.RUNNING, ProcessState.BACKOFF
STOPPING, EXITED, FATAL = ProcessState.STOPPING, ProcessState.EXITED, ProcessState.FATAL

ENDED = frozenset({EXITED, FATAL})
"""Nothing runs and nothing will by itself."""

TRANSITIONS: Mapping[ProcessState, frozenset[ProcessState]] = {
    STARTING: frozenset({RUNNING, BACKOFF, STOPPING, EXITED, FATAL}),
    RUNNING: frozenset({BACKOFF, STOPPING, EXITED, FATAL}),
    BACKOFF: frozenset({STARTING, EXITED}),
    STOPPING: frozenset({EXITED}),
    EXITED: frozenset({STARTING}),
    FATAL: frozenset({STARTING}),
}
"""Every legal change of state."""


class Action(StrEnum):
    """What the supervisor has to do after a step, in the order given."""

    SPAWN = "spawn"
    PROBE = "probe"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Start:
    """Someone wants the process to run."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The program was started; its probe can begin."""


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The program could not be started at all."""

    why: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The probe succeeded."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """The probe gave up."""

    why: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone. ``code`` is negative for a signal."""

    code: int
    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Someone wants the process to end in good order."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Someone kills the process. ``restart``: it may come back by itself, as its spec says."""

    restart: bool


@dataclass(frozen=True, slots=True)
class Due:
    """``Life.wake_at`` has come."""


Message = Start | Spawned | SpawnFailed | Ready | NotReady | Exited | Stop | Kill | Due


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often a failing process is tried again.

    Delays double from ``first_s`` to ``most_s``. Having been ready for ``steady_s`` wipes the slate clean;
    ``give_up`` quick failures in a row end it.
    """

    first_s: float = 0.1
    most_s: float = 10.0
    steady_s: float = 30.0
    quick_s: float = 1.0
    give_up: int = 5

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row, at least one."""
        return float(min(self.first_s * 2 ** (min(failures, 64) - 1), self.most_s))


@dataclass(frozen=True, slots=True)
class Life:
    """What is known about one process; times are seconds of the clock that stamps the messages.

    ``wake_at`` asks for a :class:`Due`; ``forced``: the next exit was our own doing and is no failure.
    """

    state: ProcessState = EXITED
    ready_at: float | None = None
    wake_at: float | None = None
    failures: int = 0
    quick_failures: int = 0
    restarts: int = 0
    forced: bool = False
    exit_code: int | None = None
    reason: str = ""


Step = tuple[Life, tuple[Action, ...]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What of a spec matters to its life. ``stop_s``: seconds between TERMINATE and KILL."""

    stop_s: float
    restart: bool
    probed: bool
    backoff: Backoff = Backoff()

    @classmethod
    def of(cls, spec: ProcessSpec, backoff: Backoff) -> Rules:
        """The rules for one process."""
        return cls(spec.stop_s, spec.restart, spec.ready is not None, backoff)


def step(life: Life, message: Message, now: float, rules: Rules) -> Step:
    """The life after ``message`` at ``now``, and what to do. A message that comes late changes nothing."""
    match message:
        case Start():
            return _start(life)
        case Spawned():
            return _spawned(life, now, rules)
        case SpawnFailed(why):
            return _spawn_failed(life, why, now, rules)
        case Ready():
            return _ready(life, now)
        case NotReady(why):
            return (replace(life, reason=why), (Action.KILL,)) if life.state is STARTING else (life, ())
        case Exited():
            return _exited(life, message, now, rules)
        case Stop():
            return _stop(life, now, rules)
        case Kill(restart):
            return _kill(life, restart, rules)
        case Due():
            return _due(life)
        case _:
            assert_never(message)


def enter(life: Life, state: ProcessState) -> Life:
    """``life`` in another state, without a deadline.

    Raises:
        HoldfastError: the change is not in :data:`TRANSITIONS`.
    """
    if state not in TRANSITIONS[life.state]:
        raise HoldfastError(f"a process cannot go from {life.state} to {state}")
    return replace(life, state=state, wake_at=None)


def _start(life: Life) -> Step:
    if life.state not in ENDED:
        return life, ()
    return enter(Life(state=life.state), STARTING), (Action.SPAWN,)


def _spawned(life: Life, now: float, rules: Rules) -> Step:
    if life.state is not STARTING:
        return life, ()
    return (life, (Action.PROBE,)) if rules.probed else _ready(life, now)


def _ready(life: Life, now: float) -> Step:
    # A process that we are about to kill may still answer its probe once more.
    if life.state is not STARTING or life.reason or life.forced:
        return life, ()
    return replace(enter(life, RUNNING), ready_at=now), ()


def _spawn_failed(life: Life, why: str, now: float, rules: Rules) -> Step:
    if life.restarts == 0:
        return replace(enter(life, FATAL), reason=why), ()
    return _failed(replace(life, reason=why), now, rules)


def _exited(life: Life, exit_: Exited, now: float, rules: Rules) -> Step:
    if life.state not in (STARTING, RUNNING, STOPPING):
        return life, ()
    reason = f"{life.reason}\n{exit_.why}" if life.reason else exit_.why
    gone = replace(life, exit_code=exit_.code, reason=reason)
    if life.state is STOPPING or not rules.restart:
        return replace(enter(gone, EXITED), forced=False, ready_at=None), ()
    return _failed(gone, now, rules)


def _failed(life: Life, now: float, rules: Rules) -> Step:
    """Try again later, or give up."""
    counted = replace(_count(life, now, rules.backoff), forced=False, ready_at=None)
    if counted.quick_failures >= rules.backoff.give_up:
        return enter(counted, FATAL), ()
    delay_s = rules.backoff.delay_s(max(counted.failures, 1))
    return replace(enter(counted, BACKOFF), wake_at=now + delay_s), ()


def _count(life: Life, now: float, backoff: Backoff) -> Life:
    if life.forced:
        return life
    up_s = 0.0 if life.ready_at is None else now - life.ready_at
    return replace(
        life,
        failures=1 if up_s >= backoff.steady_s else life.failures + 1,
        quick_failures=life.quick_failures + 1 if up_s < backoff.quick_s else 0,
    )


def _stop(life: Life, now: float, rules: Rules) -> Step:
    if life.state is BACKOFF:
        return enter(life, EXITED), ()
    if life.state not in (STARTING, RUNNING):
        return life, ()
    return replace(enter(life, STOPPING), wake_at=now + rules.stop_s), (Action.TERMINATE,)


def _kill(life: Life, restart: bool, rules: Rules) -> Step:
    if life.state in ENDED or (life.state is BACKOFF and restart):
        return life, ()
    if life.state is BACKOFF:
        return enter(life, EXITED), ()
    if life.state is STOPPING:
        return replace(life, wake_at=None), (Action.KILL,)
    if restart and rules.restart:
        return replace(life, forced=True), (Action.KILL,)
    return enter(life, STOPPING), (Action.KILL,)


def _due(life: Life) -> Step:
    if life.wake_at is None:
        return life, ()
    if life.state is BACKOFF:
        again = replace(enter(life, STARTING), restarts=life.restarts + 1, reason="", exit_code=None)
        return again, (Action.SPAWN,)
    return replace(life, wake_at=None), (Action.KILL,)
