"""What a fleet consists of and what it asks for: phases, replicas, actions, deployments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.model import Node


class Phase(StrEnum):
    """Where a replica is in its life."""

    LAUNCHING = "launching"
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPING = "stopping"
    LOST = "lost"


COMING = frozenset({Phase.LAUNCHING, Phase.STARTING})
ACTIVE = frozenset({Phase.LAUNCHING, Phase.STARTING, Phase.SERVING})
REGISTERED = frozenset({Phase.SERVING, Phase.DRAINING, Phase.LOST})


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What the balancer nodes of the region see: healthy for any of them, and requests in flight to it."""

    healthy: bool
    in_flight: int = 0


@dataclass(slots=True)
class Replica:
    """One copy of the user's program. ``since`` is when it entered its phase."""

    node: Node
    release: int
    phase: Phase
    since: float
    host: str = ""
    port: int = 0
    healthy: bool = False
    ever_healthy: bool = False
    in_flight: int = 0
    deadline: float | None = None

    @property
    def zone(self) -> str:
        """The zone it runs in; a replica always has one."""
        return self.node.zone or ""


@dataclass(frozen=True, slots=True)
class Launch:
    """Start this node from ``release`` after ``delay_s`` of platform time."""

    node: Node
    release: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Stop:
    """SIGTERM, then SIGKILL after ``stop_s``. ``stop_s == 0`` means SIGKILL at once."""

    node_id: str
    stop_s: float


@dataclass(frozen=True, slots=True)
class Publish:
    """The set of targets (or their draining flags) changed: tell the balancer nodes."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person wants to know; becomes an event."""

    kind: str
    subject: str
    message: str


Action = Launch | Stop | Publish | Note


def brief(reason: str) -> str:
    """A process's end in one line: how it ended, and the last thing it wrote (for a traceback, the error)."""
    how, *written = [line.strip() for line in reason.splitlines() if line.strip()] or [""]
    return f"{how}: {written[-1]}" if written and "SIGKILL" not in how else how


@dataclass(slots=True)
class Deployment:
    """A rolling replacement under way or ended. ``outcome`` is ``""``, ``"done"`` or ``"rolled back"``."""

    release: int
    previous: int
    started_t: float
    failures: int = 0
    outcome: str = ""
    reason: str = ""
