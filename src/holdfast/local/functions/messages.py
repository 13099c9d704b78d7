"""What the scheduler is told (messages) and what it wants done (actions). Times are seconds of one clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.local.functions.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request waits for an environment."""

    now: float
    request: str


@dataclass(frozen=True, slots=True)
class Ready:
    """An environment asks for its next invocation: it has initialised, or has finished the last one."""

    now: float
    environment: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An environment has posted a response or an error."""

    now: float
    environment: str


@dataclass(frozen=True, slots=True)
class InitFailed:
    """An environment has posted an initialisation error."""

    now: float
    environment: str
    error: str


@dataclass(frozen=True, slots=True)
class Exited:
    """An environment's process is gone."""

    now: float
    environment: str
    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The caller has left. A function that already runs is not stopped by that."""

    now: float
    request: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    now: float


@dataclass(frozen=True, slots=True)
class ZoneChanged:
    """A zone was lost, or is back."""

    now: float
    zone: str
    lost: bool


@dataclass(frozen=True, slots=True)
class Shift:
    """The alias points to another version from now on."""

    now: float
    version: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Initialise one environment of a version without traffic, as CodeDeploy's hooks do before a shift.

    https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html
    """

    now: float
    version: int


@dataclass(frozen=True, slots=True)
class Limits:
    """New concurrency settings; ``None`` keeps the old one."""

    now: float
    concurrency: int | None = None
    provisioned: int | None = None


Message = (
    Arrived | Ready | Answered | InitFailed | Exited | Abandoned | Tick | ZoneChanged | Shift | Probe | Limits
)


@dataclass(frozen=True, slots=True)
class StartEnvironment:
    """Ask for one more environment."""

    environment: str
    zone: str
    version: int
    provisioned: bool = False


@dataclass(frozen=True, slots=True)
class Retire:
    """Ask for an environment to be stopped; ``now``: killed, it is not going to stop by itself."""

    environment: str
    reason: str
    now: bool = False


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Hand a request to an environment, which must answer by ``deadline``."""

    environment: str
    request: str
    version: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a request without the function's answer."""

    request: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Initialised:
    """An environment is up ``seconds`` after it was asked for. A cold start unless ``provisioned``."""

    environment: str
    seconds: float
    provisioned: bool


@dataclass(frozen=True, slots=True)
class Forget:
    """An environment is gone for good: close its port."""

    environment: str


@dataclass(frozen=True, slots=True)
class Want:
    """How many environments there should be, altogether and by zone."""

    total: int
    by_zone: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class VersionState:
    """``ready``: an environment of it came up; ``settled``: none of another is left; or ``failed``."""

    version: int
    state: str
    error: str = ""


Action = StartEnvironment | Retire | Dispatch | Refuse | Initialised | Forget | Want | VersionState
