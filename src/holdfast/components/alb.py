"""Application Load Balancer: health checks, draining and zone-independent routing to the replicas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, model_validator

from holdfast import facts
from holdfast.components.base import Component, Settings, one_per_zone
from holdfast.components.limits import allowed
from holdfast.model import Behaviour, FailureMode, Group, HealthCheck, Node, Role

KILOBYTE = 1024


def _slow_start(value: float) -> float:
    low = facts.number("alb.slow_start_min")
    if 0 < value < low:
        raise ValueError(f"AWS allows 0 (off) or {low:g} s and more (alb.slow_start_min), not {value:g}")
    return value


class AlbSettings(Settings):
    """The ``[alb]`` table of a manifest."""

    interval_s: Annotated[float, allowed("alb.health_check_interval")] = 5.0
    """Seconds between two health checks of one target. AWS's default is 30."""
    timeout_s: Annotated[float, allowed("alb.health_check_timeout")] = 2.0
    """Seconds that a target has to answer a health check; must be shorter than the interval."""
    unhealthy_threshold: Annotated[int, allowed("alb.unhealthy_threshold")] = 2
    """Failed checks in a row until a target gets no more requests."""
    healthy_threshold: Annotated[int, allowed("alb.healthy_threshold")] = 2
    """Passed checks in a row until an unhealthy target gets requests again. AWS's default is 5."""
    health_path: str = "/health"
    """Path that the health check asks; 200 is healthy."""
    drain_s: Annotated[float, allowed("alb.deregistration_delay")] = 20.0
    """Seconds that a deregistered target may finish its requests (AWS: deregistration delay, default 300)."""
    slow_start_s: Annotated[float, allowed("alb.slow_start"), AfterValidator(_slow_start)] = 0.0
    """Seconds over which a new target's share of the traffic grows; 0 is off."""
    idle_timeout_s: Annotated[float, allowed("alb.idle_timeout")] = 60.0
    """Seconds without a byte until a connection is closed; a target that stays silent so long gives 504."""
    cross_zone: bool = True
    """Each node sends requests to targets in all zones. Off, a zone without targets fails its share."""

    @model_validator(mode="after")
    def _timeout_fits(self) -> Self:
        if self.timeout_s >= self.interval_s:
            raise ValueError(
                f"timeout_s ({self.timeout_s:g}) must be below interval_s ({self.interval_s:g}), says AWS"
            )
        return self


class Alb(Component[AlbSettings]):
    """The load balancer of a region, with a node in each zone."""

    name: ClassVar[str] = "alb"
    role: ClassVar[Role] = Role.BALANCER
    Settings = AlbSettings

    def place(self, settings: AlbSettings, region: str | None, zones: tuple[str, ...]) -> tuple[Node, ...]:
        """One node in each zone."""
        return one_per_zone(self.name, zones)

    def behaviour(self, settings: AlbSettings) -> Behaviour:
        """A hung target is found within ``threshold * interval + timeout``."""
        health = HealthCheck(
            interval_s=settings.interval_s,
            timeout_s=settings.timeout_s,
            unhealthy_threshold=settings.unhealthy_threshold,
            healthy_threshold=settings.healthy_threshold,
            path=settings.health_path,
        )
        return Behaviour(
            connect_timeout_s=facts.number("alb.connect_timeout"),
            idle_timeout_s=settings.idle_timeout_s,
            health=health,
            drain_s=settings.drain_s,
            slow_start_s=settings.slow_start_s,
            ttl_s=facts.number("alb.dns_ttl"),
            max_header_bytes=int(facts.number("alb.request_headers_kb") * KILOBYTE),
            fail_open=bool(facts.get("alb.fail_open").value),
            cross_zone=settings.cross_zone,
            because=_BECAUSE,
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What clients see when a target, a zone or all targets fail."""
        return (_target_dead(group), _target_hangs(group), _zone_lost(group), _all_unhealthy(group))

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """Nothing of the user's runs here."""
        return {}


def _health(group: Group) -> HealthCheck:
    assert group.behaviour.health is not None
    return group.behaviour.health


def _target_dead(group: Group) -> FailureMode:
    health = _health(group)
    return FailureMode(
        "target dead",
        "node",
        "requests sent to it fail with 502",
        f"{health.detect_min_s:g} to {health.unhealthy_threshold * health.interval_s:g} s by health check;"
        " sooner where the platform deregisters it",
        "requests go to the other targets; the platform starts a replacement",
    )


def _target_hangs(group: Group) -> FailureMode:
    health, idle_s = _health(group), group.behaviour.idle_timeout_s
    return FailureMode(
        "target hangs",
        "node",
        f"requests sent to it wait, at most {idle_s:g} s, then 504",
        f"up to {health.detect_max_s:g} s by health check",
        f"out of service until {health.healthy_threshold} checks pass",
    )


def _zone_lost(group: Group) -> FailureMode:
    health = _health(group)
    return FailureMode(
        "zone lost",
        "zone",
        f"one in {max(len(group.zones), 1)} connections fails: those to the address of this zone's node",
        f"its targets within {health.detect_max_s:g} s; its address by the load balancer's own checks",
        f"the address leaves DNS, clients follow in {group.behaviour.ttl_s:g} s; zonal shift does it by hand",
    )


def _all_unhealthy(group: Group) -> FailureMode:
    health = _health(group)
    return FailureMode(
        "all targets unhealthy",
        "region",
        "the load balancer fails open: requests go to all targets, healthy or not",
        f"{health.detect_max_s:g} s after the last target failed",
        f"a target that passes {health.healthy_threshold} checks takes all requests again",
    )


_BECAUSE = {
    "connect_timeout_s": "fact:alb.connect_timeout",
    "idle_timeout_s": "setting:alb.idle_timeout_s",
    "health.interval_s": "setting:alb.interval_s",
    "health.timeout_s": "setting:alb.timeout_s",
    "health.unhealthy_threshold": "setting:alb.unhealthy_threshold",
    "health.healthy_threshold": "setting:alb.healthy_threshold",
    "drain_s": "setting:alb.drain_s",
    "slow_start_s": "setting:alb.slow_start_s",
    "ttl_s": "fact:alb.dns_ttl",
    "max_header_bytes": "fact:alb.request_headers_kb",
}
