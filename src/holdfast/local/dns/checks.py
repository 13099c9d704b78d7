"""Running health checks: every checker of every check probes on its own schedule.

The same class serves both uses Route 53 has for health checks: those a zone's records name, and those Elastic
Load Balancing has made for the nodes of a load balancer, which take a zone's address out of the regional name
(https://aws.amazon.com/blogs/networking-and-content-delivery/using-load-balancer-target-group-health-thresholds-to-improve-availability/).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.local.dns.health import CHECKER_REGIONS, CheckerFleet, CheckStatus, Fleet
from holdfast.local.dns.prober import NO_NAME, NO_ROUTE, Lookup, Name, Probe, Target, probe, request
from holdfast.local.dns.server import Emit, silent
from holdfast.model import HealthCheck


@dataclass(frozen=True, slots=True)
class Check:
    """One health check. ``policy`` gives interval, thresholds and path; the two timeouts replace its own.

    Route 53 allows 4 s for the connection and then 2 s for the HTTP status.
    """

    id: str
    target: Target
    policy: HealthCheck
    connect_timeout_s: float = 4.0
    response_timeout_s: float = 2.0
    fleet: Fleet = field(default_factory=Fleet)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a running check needs from outside: names, chance, time, and someone to tell."""

    lookup: Lookup = lambda name: ()
    rng: random.Random = field(default_factory=random.Random)
    clock: Callable[[], float] = time.time
    emit: Emit = silent


class HealthChecks:
    """All health checks of a run.

    ``on_change`` is called with the id of a check and its new health, after ``is_healthy`` says the same.
    """

    def __init__(
        self, around: Surroundings | None = None, on_change: Callable[[str, bool], None] | None = None
    ) -> None:
        self._around = around or Surroundings()
        self.on_change = on_change
        self._fleets: dict[str, CheckerFleet] = {}
        self._checks: dict[str, Check] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._cut: dict[str, frozenset[str]] = {}
        self._running = False

    def add(self, check: Check) -> None:
        """Take a check in, healthy at first; replaces one with the same id. Probes at once if started."""
        self.remove(check.id)
        self._checks[check.id] = check
        self._fleets[check.id] = CheckerFleet(check.policy, check.fleet, self._around.clock())
        if self._running:
            self._start(check)

    def remove(self, check_id: str) -> None:
        """Stop and forget a check; nothing happens where there is none of that id."""
        for task in self._tasks.pop(check_id, ()):
            task.cancel()
        for known in (self._checks, self._fleets, self._cut):
            known.pop(check_id, None)

    def start(self) -> None:
        """Begin to probe, in the running event loop."""
        self._running = True
        for check in self._checks.values():
            if check.id not in self._tasks:
                self._start(check)

    async def stop(self) -> None:
        """End every probe; the statuses stay as they are.

        Raises:
            Exception: what ended a checker before, if anything did.
        """
        self._running = False
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    def is_healthy(self, check_id: str) -> bool:
        """For :data:`holdfast.local.dns.zone.Healthy`. An id without a check counts as healthy."""
        fleet = self._fleets.get(check_id)
        return fleet is None or fleet.healthy

    def status(self) -> dict[str, CheckStatus]:
        """The status of every check by its id."""
        return {check_id: fleet.status for check_id, fleet in self._fleets.items()}

    def cut(self, check_id: str, regions: Collection[str] = CHECKER_REGIONS) -> None:
        """Cut the checkers in ``regions`` off from the endpoint: their probes time out.

        Raises:
            HoldfastError: there is no such check.
        """
        if check_id not in self._checks:
            known = ", ".join(self._checks) or "none"
            raise HoldfastError(f"there is no health check {check_id}", hint=f"known: {known}")
        self._cut[check_id] = frozenset(regions)
        message = f"{check_id}: checkers in {', '.join(sorted(regions))} are cut off"
        self._around.emit("dns.check.cut", check_id, message, {"regions": sorted(regions)})

    def heal(self, check_id: str) -> None:
        """Undo ``cut``."""
        if self._cut.pop(check_id, None) is not None:
            self._around.emit(
                "dns.check.healed", check_id, f"{check_id}: its checkers are connected again", {}
            )

    def _start(self, check: Check) -> None:
        fleet = self._fleets[check.id]
        self._tasks[check.id] = [
            asyncio.create_task(self._run(check, fleet, checker), name=f"{check.id}/{checker}")
            for checker in range(check.fleet.checkers)
        ]

    async def _run(self, check: Check, fleet: CheckerFleet, checker: int) -> None:
        """Probe for ever: a random phase, then one probe per interval, counted from the start of the last.

        Route 53 counts from the endpoint's answer; here both are within milliseconds, and where there is no
        answer the fixed rhythm keeps detection within ``threshold * interval_s + timeout``.
        """
        loop = asyncio.get_running_loop()
        at = loop.time() + self._around.rng.random() * check.policy.interval_s
        while True:
            await asyncio.sleep(at - loop.time())
            failure = await self._probe(check, checker)
            self._observe(check.id, fleet, checker, failure)
            at = max(at + check.policy.interval_s, loop.time())

    async def _probe(self, check: Check, checker: int) -> str:
        if check.fleet.region(checker) in self._cut.get(check.id, ()):
            await asyncio.sleep(check.connect_timeout_s)
            return NO_ROUTE
        ip = self._address(check.target)
        if ip is None:
            return NO_NAME
        asked = request(check.target, check.policy.path, check.id)
        return await probe(
            ip, check.target.port, Probe(asked, check.connect_timeout_s, check.response_timeout_s)
        )

    def _address(self, target: Target) -> str | None:
        if not isinstance(target, Name):
            return target.ip
        found = self._around.lookup(target.name)
        return self._around.rng.choice(found) if found else None

    def _observe(self, check_id: str, fleet: CheckerFleet, checker: int, failure: str) -> None:
        if not fleet.observe(checker, self._around.clock(), failure):
            return
        status = fleet.status
        says = "healthy" if status.healthy else f"unhealthy: {status.last_failure}"
        data: dict[str, Any] = {"healthy_share": status.healthy_share, "last_failure": status.last_failure}
        self._around.emit(
            f"dns.check.{'healthy' if status.healthy else 'unhealthy'}",
            check_id,
            f"{check_id} is {says}",
            data,
        )
        if self.on_change:
            self.on_change(check_id, status.healthy)
