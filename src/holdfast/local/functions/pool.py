"""The environments of one function, and how many are in which phase. The rules are the scheduler's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Where an environment is in its life."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    ANSWERED = "answered"
    LEAVING = "leaving"


LIVE = (Phase.STARTING, Phase.IDLE, Phase.BUSY, Phase.ANSWERED)


@dataclass(slots=True)
class Environment:
    """One execution environment.

    ``since`` is when it entered its phase, ``deadline`` when our patience with it ends, ``arrived`` when the
    request it runs came in. ``request`` is ``None`` once nobody waits for the answer any more.
    """

    id: str
    zone: str
    version: int
    since: float
    deadline: float
    provisioned: bool = False
    phase: Phase = Phase.STARTING
    request: str | None = None
    arrived: float = 0.0
    served: int = 0


class Pool:
    """All environments that exist. Counts are kept, not taken: they are asked for on every request."""

    def __init__(self) -> None:
        self._all: dict[str, Environment] = {}
        self._free: dict[str, Environment] = {}
        self._tally: Counter[tuple[int, Phase]] = Counter()
        self.busy = 0

    def __iter__(self) -> Iterator[Environment]:
        return iter(list(self._all.values()))

    def get(self, environment_id: str) -> Environment | None:
        """The environment with this id, if there is one."""
        return self._all.get(environment_id)

    def add(self, environment: Environment) -> None:
        """A new environment, in its present phase."""
        self._all[environment.id] = environment
        self._count(environment, 1)

    def remove(self, environment: Environment) -> None:
        """Forget one for good."""
        self.hold(environment)
        del self._all[environment.id]
        self._count(environment, -1)

    def enter(self, environment: Environment, phase: Phase, now: float) -> None:
        """Move one to ``phase``; whichever it is, it is not free until :meth:`free` says so."""
        self.hold(environment)
        self._count(environment, -1)
        environment.phase, environment.since = phase, now
        self._count(environment, 1)

    def free(self, environment: Environment) -> None:
        """Let one take requests."""
        self._free[environment.id] = environment

    def hold(self, environment: Environment) -> None:
        """Let one take no more requests."""
        self._free.pop(environment.id, None)

    def spare(self) -> Environment | None:
        """The free environment used last, so that the others get a chance to retire."""
        return next(reversed(self._free.values()), None)

    def count(self, version: int, *phases: Phase) -> int:
        """Environments of ``version`` in one of ``phases``."""
        return sum(self._tally[version, phase] for phase in phases)

    def by_zone(self) -> Counter[str]:
        """Live environments of all versions, by zone."""
        return Counter(e.zone for e in self._all.values() if e.phase is not Phase.LEAVING)

    def _count(self, environment: Environment, change: int) -> None:
        self._tally[environment.version, environment.phase] += change
        if environment.phase is Phase.BUSY:
            self.busy += change
