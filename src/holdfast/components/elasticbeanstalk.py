"""AWS Elastic Beanstalk: a load-balanced environment whose instances Beanstalk deploys to, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from holdfast import facts
from holdfast.components import compute
from holdfast.components.base import Component, spread
from holdfast.components.limits import allowed
from holdfast.model import Behaviour, DeadNode, DeployPolicy, FailureMode, Group, Node, Role

_OUT = "elasticbeanstalk.trigger_breach_duration"


class ElasticBeanstalkSettings(compute.ReplicaSettings):
    """The ``[elasticbeanstalk]`` table of a manifest."""

    replicas_min: Annotated[int, allowed("elasticbeanstalk.min_instances")] = 3
    """Instances a region keeps at least (AWS: MinSize, default 1)."""
    replicas_max: Annotated[int, allowed("elasticbeanstalk.max_instances")] = 30
    """Instances a region scales out to at most (AWS: MaxSize, default 4)."""
    out_cooldown_s: Annotated[float, allowed("elasticbeanstalk.scaling_cooldown")] = 360.0
    """Seconds after a scale-out before the next."""
    in_cooldown_s: Annotated[float, allowed("elasticbeanstalk.scaling_cooldown")] = 360.0
    """Seconds after a scale-in before the next."""
    stop_s: float = Field(default=30.0, ge=0)
    """Seconds from SIGTERM to SIGKILL of the service on the instance (systemd: TimeoutStopSec)."""
    policy: Literal["RollingWithAdditionalBatch", "Rolling", "Immutable"] = "RollingWithAdditionalBatch"
    """How a version is deployed; AWS's default, all at once, is not offered because it stops the service."""
    batch_pct: Annotated[int, allowed("elasticbeanstalk.batch_size")] = 34
    """Instances in percent that are deployed to together."""
    breaker_failures: int = Field(default=1, ge=1)
    """Instances that may fail before the deployment is given up; Beanstalk stops at a batch that fails."""


class ElasticBeanstalk(Component[ElasticBeanstalkSettings]):
    """An Elastic Beanstalk environment in a region."""

    name: ClassVar[str] = "elasticbeanstalk"
    role: ClassVar[Role] = Role.WORKERS
    Settings = ElasticBeanstalkSettings

    def place(
        self, settings: ElasticBeanstalkSettings, region: str | None, zones: tuple[str, ...]
    ) -> tuple[Node, ...]:
        """Instances spread evenly over the zones, as the environment's Auto Scaling group does."""
        return spread(self.name, settings.replicas_min, zones, spot=settings.spot)

    def behaviour(self, settings: ElasticBeanstalkSettings) -> Behaviour:
        """The instances are EC2 instances of an Auto Scaling group, so EC2's facts hold."""
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
            scale=compute.scale(settings, _OUT, _OUT),
            because=_because(start),
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What is lost with an instance, a zone, a region or a batch."""
        return (
            compute.region_lost(group),
            compute.zone_lost(group),
            compute.bad_deployment(group, _recovery(group)),
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
                "by the load balancer's health check",
                f"where Auto Scaling uses ELB health checks, {compute.replaced_after(group)}",
            ),
            *compute.spot_reclaimed(group),
        )

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """Only the environment properties that Holdfast declares; Beanstalk adds none that name the place."""
        return compute.place_variables(group, node)


def _deploy(settings: ElasticBeanstalkSettings) -> DeployPolicy:
    batch = settings.batch_pct
    low, high = {
        "RollingWithAdditionalBatch": (100, 100 + batch),
        "Rolling": (100 - batch, 100),
        "Immutable": (100, 200),
    }[settings.policy]
    return DeployPolicy(low, high, settings.breaker_failures, settings.breaker_failures, 0.0)


def _recovery(group: Group) -> str:
    if group.settings.policy == "Immutable":
        return "the new instances are terminated; the old ones were never touched"
    return "the deployment stops with that batch; the last version must be deployed again"


def _because(start: compute.Reason) -> dict[str, str]:
    policy, failures = (
        "setting:elasticbeanstalk.policy, setting:elasticbeanstalk.batch_pct",
        "setting:elasticbeanstalk.breaker_failures",
    )
    return compute.because(
        "elasticbeanstalk",
        start_s=start,
        scale_out=_OUT,
        scale_in=_OUT,
        notice_s="fact:ec2.asg_status_check_period",
        stop_s="setting:elasticbeanstalk.stop_s",
        spot_notice_s="fact:ec2.spot_notice",
        deploy__minimum_healthy_pct=policy,
        deploy__maximum_pct=policy,
        deploy__breaker_failures_min=failures,
        deploy__breaker_failures_max=failures,
        deploy__breaker_fraction=failures,
    )
