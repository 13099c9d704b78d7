"""Amazon EC2 behind an Auto Scaling group: instances that are replaced whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from holdfast import facts
from holdfast.components import compute
from holdfast.components.base import Component, spread
from holdfast.components.limits import allowed
from holdfast.model import Behaviour, DeadNode, DeployPolicy, FailureMode, Group, Node, Role

_OUT, _IN = "ec2.asg_target_tracking_out", "ec2.asg_target_tracking_in"


class Ec2Settings(compute.ReplicaSettings):
    """The ``[ec2]`` table of a manifest."""

    stop_s: float = Field(default=30.0, ge=0)
    """Seconds from SIGTERM to SIGKILL of the service on the instance (systemd: TimeoutStopSec)."""
    grace_s: Annotated[float, allowed("ec2.asg_health_check_grace_period")] = 60.0
    """Seconds after a launch in which a failed health check does not replace the instance."""
    minimum_healthy_pct: Annotated[int, allowed("ec2.asg_refresh_min_healthy")] = 100
    """Instances in percent that stay in service during an instance refresh. AWS's default is 90."""
    maximum_pct: Annotated[int, allowed("ec2.asg_refresh_max_healthy")] = 150
    """Instances in percent that may exist during an instance refresh. AWS's default is 100."""
    breaker_failures: int = Field(default=3, ge=1)
    """Failed launches after which Holdfast cancels an instance refresh; Auto Scaling itself tries again."""

    @model_validator(mode="after")
    def _can_refresh(self) -> Self:
        span, limit = self.maximum_pct - self.minimum_healthy_pct, facts.number("ec2.asg_refresh_span")
        if span > limit:
            raise ValueError(
                f"AWS allows at most {limit:g} between minimum_healthy_pct and maximum_pct, not {span}"
            )
        return self


class Ec2(Component[Ec2Settings]):
    """An Auto Scaling group in a region."""

    name: ClassVar[str] = "ec2"
    role: ClassVar[Role] = Role.WORKERS
    Settings = Ec2Settings

    def place(self, settings: Ec2Settings, region: str | None, zones: tuple[str, ...]) -> tuple[Node, ...]:
        """Instances spread evenly over the zones, as Auto Scaling does."""
        return spread(self.name, settings.replicas_min, zones, spot=settings.spot)

    def behaviour(self, settings: Ec2Settings) -> Behaviour:
        """Nobody tells the load balancer about a dead instance: its health check has to find out."""
        start = compute.start(self.name, settings, "ec2.launch_to_ssh")
        return Behaviour(
            start_s=start.value,
            notice_s=facts.number("ec2.asg_status_check_period"),
            drain_s=settings.drain_s,
            grace_s=settings.grace_s,
            stop_s=settings.stop_s,
            dead_node=DeadNode.HEALTH_CHECK,
            spot_notice_s=facts.number("ec2.spot_notice") if settings.spot else None,
            deploy=_deploy(settings),
            scale=compute.scale(settings, _OUT, _IN),
            because=_because(start),
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What is lost with an instance, a zone, a region or a refresh."""
        return (
            compute.region_lost(group),
            compute.zone_lost(group),
            compute.bad_deployment(group, "the instance refresh is cancelled and rolled back"),
            FailureMode(
                "instance dies",
                "node",
                "requests sent to it fail until the load balancer's health check drops it",
                f"by the load balancer first; Auto Scaling looks every {group.behaviour.notice_s:g} s",
                compute.replaced_after(group),
            ),
            FailureMode(
                "program hangs",
                "node",
                "requests sent to it wait until the load balancer gives it up",
                "by the load balancer's health check; status checks of the instance still pass",
                f"Auto Scaling uses the same check and replaces it; {compute.replaced_after(group)}",
            ),
            *compute.spot_reclaimed(group),
        )

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """Only what user data writes: an instance has no AWS variables, programs ask the metadata service."""
        return compute.place_variables(group, node)


def _deploy(settings: Ec2Settings) -> DeployPolicy:
    return DeployPolicy(
        minimum_healthy_pct=settings.minimum_healthy_pct,
        maximum_pct=settings.maximum_pct,
        breaker_failures_min=settings.breaker_failures,
        breaker_failures_max=settings.breaker_failures,
        breaker_fraction=0.0,
    )


def _because(start: compute.Reason) -> dict[str, str]:
    return compute.because(
        "ec2",
        start_s=start,
        scale_out=_OUT,
        scale_in=_IN,
        notice_s="fact:ec2.asg_status_check_period",
        stop_s="setting:ec2.stop_s",
        spot_notice_s="fact:ec2.spot_notice",
        deploy__minimum_healthy_pct="setting:ec2.minimum_healthy_pct",
        deploy__maximum_pct="setting:ec2.maximum_pct",
        deploy__breaker_failures_min="setting:ec2.breaker_failures",
        deploy__breaker_failures_max="setting:ec2.breaker_failures",
        deploy__breaker_fraction="setting:ec2.breaker_failures",
    )
