"""The glossary: value types that cross a package boundary.

Everything here is frozen, compares by value and holds no behaviour beyond look-ups. Durations are seconds
(``_s``), sizes are bytes unless the name says otherwise, shares are 0..1.

::

    Topology ── groups ──► Group ── nodes ──► Node          CloudFormation declares groups; a machine runs nodes
        └────── links ───► Link  (source group → target group)   faults hit nodes and links
    Group.behaviour ─────► Behaviour   how the block acts in time; every number says why (``because``)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What a block does for a request. Stand-ins go by role, never by AWS block."""

    DNS = "dns"
    CDN = "cdn"
    EDGE_FUNCTION = "edge-function"
    BUCKET = "bucket"
    GATEWAY = "gateway"
    BALANCER = "balancer"
    NETWORK = "network"
    WORKERS = "workers"
    FUNCTIONS = "functions"
    DATABASE = "database"
    CACHE = "cache"
    TABLE = "table"


class DeadNode(StrEnum):
    """What tells the balancer that a node is gone: the platform's scheduler, or only the health check."""

    DEREGISTERED = "deregistered"
    HEALTH_CHECK = "health-check"


@dataclass(frozen=True, slots=True)
class Fact:
    """One dated figure about AWS: ``value`` in ``unit``, the ``source`` that owns it, ``as_of`` when it was read."""

    key: str
    value: Any
    unit: str
    source: str
    as_of: str
    confidence: str = "medium"
    minimum: float | None = None
    maximum: float | None = None
    notes: str = ""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """An active probe. Worst-case detection of a dead target is ``interval_s * unhealthy_threshold + timeout_s``."""

    interval_s: float
    timeout_s: float
    unhealthy_threshold: int
    healthy_threshold: int
    path: str = "/health"

    @property
    def detect_min_s(self) -> float:
        """Shortest time from failure to "unhealthy" when the target refuses at once."""
        return (self.unhealthy_threshold - 1) * self.interval_s

    @property
    def detect_max_s(self) -> float:
        """Longest time from failure to "unhealthy" when the target hangs instead of refusing."""
        return self.unhealthy_threshold * self.interval_s + self.timeout_s


@dataclass(frozen=True, slots=True)
class Retry:
    """What a caller tries again.

    ``connect_attempts`` counts the first try; requests with ``failover_methods`` go to the next origin.
    """

    connect_attempts: int = 1
    failover_methods: tuple[str, ...] = ()
    failover_statuses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: ``rate`` requests/s refill, ``burst`` requests deep."""

    rate: float
    burst: int


@dataclass(frozen=True, slots=True)
class DeployPolicy:
    """A rolling replacement. Percentages are of the desired count; the breaker trips after ``breaker_failures``."""

    minimum_healthy_pct: int = 100
    maximum_pct: int = 200
    breaker_failures_min: int = 3
    breaker_failures_max: int = 200
    breaker_fraction: float = 0.5

    def breaker_failures(self, desired: int) -> int:
        """Failed starts that stop a deployment of ``desired`` nodes."""
        wanted = -(-int(desired * self.breaker_fraction * 1000) // 1000)
        return max(self.breaker_failures_min, min(self.breaker_failures_max, wanted))


@dataclass(frozen=True, slots=True)
class ScalePolicy:
    """Target tracking: keep average CPU (percent) or requests/s per node at its target. ``None`` = not tracked."""

    minimum: int
    maximum: int
    cpu_pct: float | None = None
    rps_per_node: float | None = None
    out_after_s: float = 180.0
    in_after_s: float = 900.0
    out_cooldown_s: float = 300.0
    in_cooldown_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one block acts in time, as AWS documents it or as the user set it.

    ``because`` maps each field that holds a number to the setting (``setting:alb.interval_s``) or fact
    (``fact:alb.dns_ttl``) it comes from. ``None`` means the block does not do that at all.

    - ``start_s``: launch until the program is started; control plane, so ``--speed`` may compress it.
    - ``notice_s``: a dead node until its platform starts a replacement; control plane as well.
    - ``drain_s``: a node that leaves keeps finishing requests that long; ``stop_s``: SIGTERM until SIGKILL.
    - ``grace_s``: a new node may fail its health check that long before it counts as failed.
    - ``slow_start_s``: a new target's share of the traffic ramps up over that time; 0 = off.
    - ``concurrency``: requests one node serves at once; ``fleet_concurrency``: all nodes of a region together.
    """

    request_timeout_s: float | None = None
    connect_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    health: HealthCheck | None = None
    retry: Retry = Retry()
    start_s: float | None = None
    notice_s: float | None = None
    grace_s: float | None = None
    drain_s: float | None = None
    stop_s: float | None = None
    slow_start_s: float | None = None
    failover_s: float | None = None
    ttl_s: float | None = None
    concurrency: int | None = None
    fleet_concurrency: int | None = None
    max_payload_bytes: int | None = None
    max_header_bytes: int | None = None
    rate_limit: RateLimit | None = None
    fail_open: bool = False
    cross_zone: bool = True
    dead_node: DeadNode | None = None
    spot_notice_s: float | None = None
    deploy: DeployPolicy | None = None
    scale: ScalePolicy | None = None
    because: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FailureMode:
    """One way a block fails; ``scope`` is what is lost: ``node``, ``zone``, ``region``, ``global`` or ``deploy``."""

    name: str
    scope: str
    effect: str
    detect: str
    recover: str


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that can fail alone. ``zone`` is a name such as ``eu-west-1a``, ``None`` for a regional block."""

    id: str
    zone: str | None
    standby: bool = False
    spot: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """All nodes of one block in one region; ``region`` is ``None`` for a global block."""

    id: str
    component: str
    role: Role
    region: str | None
    settings: Any
    behaviour: Behaviour
    nodes: tuple[Node, ...]
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """Who calls whom. Timeouts, retries, health checks and failover priority belong here; faults are injected here."""

    id: str
    source: str
    target: str
    timeout_s: float | None = None
    connect_timeout_s: float | None = None
    retry: Retry = Retry()
    health: HealthCheck | None = None
    priority: int = 0
    weight: int = 1


@dataclass(frozen=True, slots=True)
class App:
    """The user's program. Exactly one of ``target`` (``module:attribute``) and ``command`` is set.

    ``root`` is the folder it is imported from and started in; ``port_env`` names are set to its port.
    """

    name: str
    root: str
    target: str | None = None
    command: tuple[str, ...] | None = None
    health_path: str = "/health"
    client_dir: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """A resolved declaration: nothing left to ask. The order of ``groups`` is the order of the request's way."""

    app: App
    regions: tuple[str, ...]
    zones: Mapping[str, tuple[str, ...]]
    routing: str
    weights: Mapping[str, int]
    domain: str
    groups: tuple[Group, ...]
    links: tuple[Link, ...]
    notes: tuple[str, ...] = ()

    def group(self, group_id: str) -> Group:
        """The group with this id; ``KeyError`` where there is none."""
        for group in self.groups:
            if group.id == group_id:
                return group
        raise KeyError(group_id)

    def of_role(self, *roles: Role, region: str | None = None) -> tuple[Group, ...]:
        """Groups with one of these roles, in request order; only those of ``region`` where it is given."""
        return tuple(g for g in self.groups if g.role in roles and (region is None or g.region == region))

    def link(self, source: str, target: str) -> Link:
        """The link between two group ids; ``KeyError`` where there is none."""
        for link in self.links:
            if (link.source, link.target) == (source, target):
                return link
        raise KeyError(f"{source}:{target}")

    def compute(self, region: str) -> Group:
        """The group that runs the user's program in ``region``."""
        (group,) = self.of_role(Role.WORKERS, Role.FUNCTIONS, region=region)
        return group


class ProcessState(StrEnum):
    """States of one supervised process. BACKOFF waits to start again; FATAL has given up."""

    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    EXITED = "exited"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class ReadyProbe:
    """How to know that a process is up: an HTTP 2xx/3xx on ``path`` (of a TCP port or unix socket), or a connect."""

    host: str = "127.0.0.1"
    port: int | None = None
    socket: str | None = None
    path: str | None = None
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to run. ``restart``: started again with back-off when it exits, until it gives up.

    ``env`` is the whole environment, not an addition. ``log`` takes stdout and stderr.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    log: str
    ready: ReadyProbe | None = None
    stop_signal: int = 15
    stop_s: float = 5.0
    restart: bool = True
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the running system. ``t`` is Unix time in seconds; ``data`` is JSON-able."""

    t: float
    kind: str
    subject: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
