"""Which environment serves which request: pure decisions, no clock and no effects of its own.

::

    Arrived ─► waiting ─► Dispatch ─► BUSY ─Answered─► ANSWERED ─Ready─► IDLE ─(idle_s)─► LEAVING ─► gone
                  │                    ▲                                  ▲ │
                  │                    └───────────── Arrived ────────────┼─┘
                  └─► StartEnvironment ─► STARTING ─────────Ready─────────┘

A request that finds no idle environment waits for whichever is free first, its own cold start or a neighbour.
Requests in flight (waiting and running) are what concurrency limits:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.local.functions.config import FunctionConfig
from holdfast.local.functions.messages import (
    Abandoned,
    Action,
    Answered,
    Arrived,
    Dispatch,
    Exited,
    Forget,
    InitFailed,
    Initialised,
    Limits,
    Message,
    Probe,
    Ready,
    Refuse,
    Retire,
    Shift,
    StartEnvironment,
    Tick,
    VersionState,
    Want,
    ZoneChanged,
)
from holdfast.local.functions.pool import LIVE, Environment, Phase, Pool
from holdfast.local.functions.refusals import Refusal

RETRY_MAX_S = 30.0
"""Longest pause between two tries to replace a provisioned environment that does not initialise."""


class Scheduler:
    """The state and its only way to change: :meth:`decide`."""

    def __init__(self, function: FunctionConfig, version: int) -> None:
        self.function = function
        self.version = version
        self.concurrency = function.concurrency
        self.provisioned = function.provisioned
        self.pool = Pool()
        self.waiting: dict[str, float] = {}
        self.lost: set[str] = set()
        self._actions: list[Action] = []
        self._made = 0
        self._failures = 0
        self._retry_at = 0.0
        self._announced = {(version, "settled")}
        self._moved = False
        self._rules: dict[type[Any], Callable[[Any], None]] = {
            Arrived: self._arrived, Abandoned: self._abandoned, Ready: self._ready, Answered: self._answered,
            InitFailed: self._init_failed, Exited: self._exited, ZoneChanged: self._zone_changed,
            Tick: self._tick, Shift: self._shift, Probe: self._probe, Limits: self._limits,
        }  # fmt: skip

    def decide(self, message: Message) -> list[Action]:
        """Take in one message; what is to be done now, in order."""
        actions: list[Action] = []
        self._actions = actions
        self._rules[type(message)](message)
        if self._moved:
            self._moved = False
            zones = self.pool.by_zone()
            actions.append(Want(zones.total(), dict(zones)))
        return actions

    @property
    def in_flight(self) -> int:
        """Requests that wait or run; what Lambda calls concurrency."""
        return len(self.waiting) + self.pool.busy

    def _arrived(self, message: Arrived) -> None:
        free = self.pool.spare()
        if self.in_flight >= self.concurrency:
            self._actions.append(Refuse(message.request, Refusal.THROTTLED))
        elif free is not None:
            self._dispatch(free, message.request, message.now, message.now)
        else:
            self.waiting[message.request] = message.now
            self._top_up(message.now)

    def _ready(self, message: Ready) -> None:
        environment = self.pool.get(message.environment)
        if environment is None or environment.phase in (Phase.LEAVING, Phase.IDLE):
            return
        if environment.phase is Phase.STARTING:
            self._initialised(environment, message.now)
        environment.request = None
        if environment.version == self.version:
            self._offer(environment, message.now)
        elif environment.version > self.version:
            self.pool.enter(environment, Phase.IDLE, message.now)
        else:
            self._retire(environment, "version", message.now)
        self._top_up(message.now)

    def _initialised(self, environment: Environment, now: float) -> None:
        self._failures = 0
        self._actions.append(Initialised(environment.id, now - environment.since, environment.provisioned))
        self._announce(environment.version, "ready")

    def _answered(self, message: Answered) -> None:
        environment = self.pool.get(message.environment)
        if environment is not None and environment.phase is Phase.BUSY:
            environment.request = None
            self.pool.enter(environment, Phase.ANSWERED, message.now)

    def _init_failed(self, message: InitFailed) -> None:
        environment = self.pool.get(message.environment)
        if environment is not None and environment.phase is Phase.STARTING:
            self._failed_start(environment, message.now, message.error)
            self._retire(environment, "init", message.now)
            self._top_up(message.now)

    def _exited(self, message: Exited) -> None:
        environment = self.pool.get(message.environment)
        if environment is None:
            return
        self.pool.remove(environment)
        if environment.phase is Phase.STARTING:
            self._failed_start(environment, message.now, f"exited while it initialised: {message.reason}")
        self._fail_request(environment, Refusal.CRASHED)
        self._moved = self._moved or environment.phase is not Phase.LEAVING
        self._actions.append(Forget(environment.id))
        self._settle()
        self._top_up(message.now)

    def _abandoned(self, message: Abandoned) -> None:
        self.waiting.pop(message.request, None)

    def _tick(self, message: Tick) -> None:
        self._integration_timeouts(message.now)
        for environment in self.pool:
            if environment.phase in (Phase.BUSY, Phase.ANSWERED, Phase.STARTING):
                if message.now >= environment.deadline:
                    self._overdue(environment, message.now)
            elif environment.phase is Phase.IDLE and message.now - environment.since >= self.function.idle_s:
                self._idled_out(environment, message.now)
        self._top_up(message.now)

    def _integration_timeouts(self, now: float) -> None:
        patience = self.function.integration_timeout_s
        if patience is None:
            return
        for request in [r for r, since in self.waiting.items() if now - since >= patience]:
            del self.waiting[request]
            self._actions.append(Refuse(request, Refusal.INTEGRATION_TIMEOUT))
        for environment in self.pool:
            if now - environment.arrived >= patience:
                self._fail_request(environment, Refusal.INTEGRATION_TIMEOUT)

    def _overdue(self, environment: Environment, now: float) -> None:
        if environment.phase is Phase.STARTING:
            self._failed_start(environment, now, "did not initialise in time")
        self._fail_request(environment, Refusal.TIMED_OUT)
        self._retire(environment, "timeout", now, kill=True)

    def _idled_out(self, environment: Environment, now: float) -> None:
        if environment.version != self.version or self.pool.count(self.version, *LIVE) > self.provisioned:
            self._retire(environment, "idle", now)

    def _zone_changed(self, message: ZoneChanged) -> None:
        if not message.lost:
            self.lost.discard(message.zone)
        elif message.zone not in self.lost:
            self.lost.add(message.zone)
            for environment in self.pool:
                if environment.zone == message.zone:
                    self._fail_request(environment, Refusal.CRASHED)
                    self._retire(environment, "zone", message.now, kill=True)
        self._top_up(message.now)

    def _shift(self, message: Shift) -> None:
        self.version = message.version
        self._failures, self._retry_at = 0, message.now
        self._announced -= {(message.version, state) for state in ("ready", "failed", "settled")}
        for environment in self.pool:
            if environment.version != message.version and environment.phase in (Phase.IDLE, Phase.STARTING):
                self._retire(environment, "version", message.now)
            elif environment.version == message.version and environment.phase is Phase.IDLE:
                self._announce(message.version, "ready")
                self._offer(environment, message.now)
        self._settle()
        self._top_up(message.now)

    def _probe(self, message: Probe) -> None:
        self._announced -= {(message.version, state) for state in ("ready", "failed")}
        self._start(message.now, message.version)

    def _limits(self, message: Limits) -> None:
        self.concurrency = self.concurrency if message.concurrency is None else message.concurrency
        self.provisioned = self.provisioned if message.provisioned is None else message.provisioned
        self._top_up(message.now)

    def _offer(self, environment: Environment, now: float) -> None:
        """The oldest waiting request, or else a place among the free."""
        if self.waiting:
            request, arrived = self._oldest()
            self._dispatch(environment, request, arrived, now)
        else:
            self.pool.enter(environment, Phase.IDLE, now)
            self.pool.free(environment)

    def _oldest(self) -> tuple[str, float]:
        request = next(iter(self.waiting))
        return request, self.waiting.pop(request)

    def _dispatch(self, environment: Environment, request: str, arrived: float, now: float) -> None:
        self.pool.enter(environment, Phase.BUSY, now)
        environment.request, environment.arrived = request, arrived
        environment.deadline = now + self.function.timeout_s
        environment.served += 1
        self._actions.append(Dispatch(environment.id, request, environment.version, environment.deadline))

    def _fail_request(self, environment: Environment, refusal: Refusal) -> None:
        if environment.request is not None:
            self._actions.append(Refuse(environment.request, refusal))
            environment.request = None

    def _retire(self, environment: Environment, reason: str, now: float, *, kill: bool = False) -> None:
        if environment.phase is not Phase.LEAVING:
            self.pool.enter(environment, Phase.LEAVING, now)
            self._moved = True
            self._actions.append(Retire(environment.id, reason, kill))

    def _failed_start(self, environment: Environment, now: float, error: str) -> None:
        """A start that came to nothing costs the oldest waiting request its answer, or there is no end."""
        self._failures += 1
        self._retry_at = now + min(RETRY_MAX_S, 2.0 ** (self._failures - 1))
        self._announce(environment.version, "failed", error)
        if self.waiting and environment.version == self.version:
            self._actions.append(Refuse(self._oldest()[0], Refusal.INIT_FAILED))

    def _top_up(self, now: float) -> None:
        """Ask for what is missing: one for each waiting request that none is coming for, and warm ones."""
        if not self.waiting and not self.provisioned:
            return
        starting = self.pool.count(self.version, Phase.STARTING)
        live = self.pool.count(self.version, *LIVE)
        room = max(0, min(self.concurrency - live, self.function.starts_at_once - starting))
        # One that has answered asks for its next request within a round trip: no need for another.
        coming = starting + self.pool.count(self.version, Phase.ANSWERED)
        needed = min(room, max(0, len(self.waiting) - coming))
        warm = self.provisioned - live - needed if now >= self._retry_at else 0
        for ordinal in range(needed + min(room - needed, max(0, warm))):
            self._start(now, self.version, provisioned=ordinal >= needed)

    def _start(self, now: float, version: int, *, provisioned: bool = False) -> None:
        zone = self._zone()
        if zone is None:
            return
        self._made += 1
        patience = self.function.init_timeout_s + self.function.timeout_s
        name = f"{self.function.name}-{self._made}"
        self.pool.add(Environment(name, zone, version, now, now + patience, provisioned))
        self._moved = True
        self._actions.append(StartEnvironment(name, zone, version, provisioned))

    def _zone(self) -> str | None:
        """The zone with the fewest environments, in the declared order; ``None`` when all are lost."""
        used = self.pool.by_zone()
        return min((z for z in self.function.zones if z not in self.lost), key=used.__getitem__, default=None)

    def _announce(self, version: int, state: str, error: str = "") -> None:
        if (version, state) not in self._announced:
            self._announced.add((version, state))
            self._actions.append(VersionState(version, state, error))

    def _settle(self) -> None:
        if all(environment.version == self.version for environment in self.pool):
            self._announce(self.version, "settled")
