"""Route 53's health checkers as a state machine, without sockets or clocks.

::

    result of one checker ──► its own streak ──► says healthy / unhealthy ──► share of the fleet ──► status

A checker changes its mind after ``threshold`` results in a row; the endpoint is healthy while *more than*
18 % of the checkers say so. The checkers do not coordinate, so each has its own random phase. The status of
``n`` checkers turns unhealthy with the ``k``-th that turns, ``k = n - floor(0.18 n)``. An endpoint that refuses
is thus found out on average ``(threshold - 1 + k / (n + 1)) * interval_s`` after it fails (the ``k``-th of ``n``
uniform phases) and always between ``threshold - 1`` and ``threshold`` intervals; one that hangs, a timeout
later. The way back takes only the first few checkers: ``k = floor(0.18 n) + 1``.

https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from holdfast.model import HealthCheck

CHECKER_REGIONS = (
    "us-east-1", "us-west-1", "us-west-2", "eu-west-1",
    "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "sa-east-1",
)  # fmt: skip
"""All regions that have health checkers; the default is to use all of them.
https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckObservation.html, read 2026-11-21."""

CHECKERS = 2 * len(CHECKER_REGIONS)
"""AWS gives no number. At an interval of 30 s the endpoint gets a request "about every two seconds", at 10 s
"more than once per second": 15 or 16 checkers. Two in each region fit both sentences, as of 2023-06-15 at
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-creating-values.html."""

HEALTHY_SHARE = 0.18
"""Healthy while more than this share of the checkers says so (page named at the top, as of 2023-06-15)."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many checkers there are and the share of them that must be exceeded for "healthy"."""

    checkers: int = CHECKERS
    healthy_share: float = HEALTHY_SHARE

    def region(self, checker: int) -> str:
        """Where a checker (0-based) is."""
        return CHECKER_REGIONS[checker % len(CHECKER_REGIONS)]

    @property
    def turns_unhealthy_at(self) -> int:
        """With that many checkers saying "unhealthy" the status is unhealthy."""
        return self.checkers - floor(self.healthy_share * self.checkers)

    @property
    def turns_healthy_at(self) -> int:
        """With that many checkers saying "healthy" the status is healthy."""
        return floor(self.healthy_share * self.checkers) + 1


@dataclass(frozen=True, slots=True)
class CheckStatus:
    """What the fleet says. ``since``: time of the last change; ``last_failure``: "" when there was none."""

    healthy: bool
    since: float
    healthy_share: float
    last_failure: str = ""


@dataclass(slots=True)
class _Checker:
    healthy: bool = True
    streak: int = 0


class CheckerFleet:
    """One health check as its whole fleet sees it.

    A new check counts as healthy until enough data says otherwise (same page, "New health checks").
    """

    def __init__(self, policy: HealthCheck, fleet: Fleet | None = None, started: float = 0.0) -> None:
        self.policy = policy
        self.fleet = fleet or Fleet()
        self.healthy = True
        self.since = started
        self.last_failure = ""
        self._checkers = [_Checker() for _ in range(self.fleet.checkers)]
        self._saying_healthy = self.fleet.checkers

    def observe(self, checker: int, t: float, failure: str = "") -> bool:
        """Take the result of one probe, ``failure`` being its reason or "". True when the status changed."""
        self.last_failure = failure or self.last_failure
        self._count(self._checkers[checker], not failure)
        healthy = self._saying_healthy >= self.fleet.turns_healthy_at
        changed, self.healthy = healthy != self.healthy, healthy
        self.since = t if changed else self.since
        return changed

    def _count(self, checker: _Checker, ok: bool) -> None:
        if ok == checker.healthy:
            checker.streak = 0
            return
        checker.streak += 1
        if checker.streak >= (self.policy.healthy_threshold if ok else self.policy.unhealthy_threshold):
            checker.healthy, checker.streak = ok, 0
            self._saying_healthy += 1 if ok else -1

    @property
    def status(self) -> CheckStatus:
        """The current status."""
        share = self._saying_healthy / self.fleet.checkers
        return CheckStatus(self.healthy, self.since, share, self.last_failure)
