"""Amazon Route 53: DNS answers that follow health checks, so that clients leave a region that fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from holdfast import facts
from holdfast.components.base import Component, Settings, node_id
from holdfast.components.limits import allowed, one_of
from holdfast.model import Behaviour, FailureMode, Group, HealthCheck, Node, Role


class Route53Settings(Settings):
    """The ``[route53]`` table of a manifest."""

    interval_s: Annotated[int, one_of("route53.health_check_intervals")] = 10
    """Seconds between two checks of one health checker: 10 (fast, costs extra) or 30."""
    failure_threshold: Annotated[int, allowed("route53.failure_threshold")] = 3
    """Consecutive checks that must fail, or pass, before a checker changes its mind."""
    ttl_s: int = Field(default=10, ge=0)
    """Seconds that resolvers keep an answer. AWS recommends 60 or less with health checks."""
    evaluate_target_health: bool = True
    """Alias records also follow the health of the load balancer that they point to."""
    health_path: str = "/health"
    """Path that health checkers ask in each region."""
    routing: Literal["latency", "failover", "weighted"] = "latency"
    """How a healthy region is chosen: the nearest, the first in order, or by weight."""
    weights: dict[str, Annotated[int, allowed("route53.weight")]] = Field(default_factory=dict)
    """Weight per region, used by weighted routing only; a region without one counts as 1."""
    domain: str = ""
    """Name that clients ask for, such as ``api.example.com``; empty on one machine."""


class Route53(Component[Route53Settings]):
    """DNS failover between regions."""

    name: ClassVar[str] = "route53"
    role: ClassVar[Role] = Role.DNS
    regional: ClassVar[bool] = False
    Settings = Route53Settings

    def place(
        self, settings: Route53Settings, region: str | None, zones: tuple[str, ...]
    ) -> tuple[Node, ...]:
        """One node: the name servers are spread world-wide and do not fail one by one."""
        return (Node(node_id(None, self.name), None),)

    def behaviour(self, settings: Route53Settings) -> Behaviour:
        """Failover takes ``interval * threshold + ttl`` once a region stops answering its checks."""
        health = HealthCheck(
            interval_s=settings.interval_s,
            timeout_s=facts.number("route53.tcp_connect_timeout")
            + facts.number("route53.http_response_timeout"),
            unhealthy_threshold=settings.failure_threshold,
            healthy_threshold=settings.failure_threshold,
            path=settings.health_path,
        )
        return Behaviour(
            health=health,
            ttl_s=settings.ttl_s,
            failover_s=settings.interval_s * settings.failure_threshold + settings.ttl_s,
            fail_open=bool(facts.get("route53.fail_open").value),
            because=_BECAUSE,
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What clients see when a region, its checks or the control plane fails."""
        health, ttl_s = group.behaviour.health, group.behaviour.ttl_s
        assert health is not None
        share = facts.number("route53.healthy_checker_share")
        return (
            FailureMode(
                "region lost",
                "region",
                "answers still name the region until enough health checkers agree that it is gone",
                f"{health.detect_min_s:g} to {health.detect_max_s:g} s, once {share:.0%} of checkers or fewer"
                " reach it",
                f"resolvers drop the old answer {ttl_s:g} s later; clients that ignore the TTL stay longer",
            ),
            FailureMode(
                "all regions unhealthy",
                "global",
                "Route 53 treats every record as healthy and answers as if nothing were wrong",
                f"{health.detect_min_s:g} to {health.detect_max_s:g} s after the last region failed",
                f"a region that passes {health.healthy_threshold} checks is preferred again",
            ),
            FailureMode(
                "control plane unavailable",
                "global",
                "records cannot be changed; queries and health checks go on",
                "API calls fail",
                "failover by health check needs no API call; do not plan on editing records during an outage",
            ),
        )

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """Nothing runs here."""
        return {}


_CHECK = "setting:route53.failure_threshold"
_BECAUSE = {
    "health.interval_s": "setting:route53.interval_s",
    "health.timeout_s": "fact:route53.tcp_connect_timeout, fact:route53.http_response_timeout",
    "health.unhealthy_threshold": _CHECK,
    "health.healthy_threshold": _CHECK,
    "ttl_s": "setting:route53.ttl_s",
    "failover_s": f"setting:route53.interval_s, {_CHECK}, setting:route53.ttl_s",
}
