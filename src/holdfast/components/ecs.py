"""Amazon ECS: tasks that a service scheduler keeps running, on Fargate or on EC2 instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from holdfast import facts
from holdfast.components import compute
from holdfast.components.base import Component, spread
from holdfast.components.limits import allowed
from holdfast.model import Behaviour, DeadNode, DeployPolicy, FailureMode, Group, Node, Role

_OUT, _IN = "ecs.target_tracking_out", "ecs.target_tracking_in"


class EcsSettings(compute.ReplicaSettings):
    """The ``[ecs]`` table of a manifest."""

    launch: Literal["fargate", "ec2"] = "fargate"
    """Where tasks run: on Fargate, or on EC2 instances of the cluster that are already up."""
    stop_s: Annotated[float, allowed("ecs.stop_timeout")] = 30.0
    """Seconds from SIGTERM to SIGKILL (AWS: stopTimeout)."""
    notice_s: float = Field(default=0.0, ge=0)
    """Seconds until the scheduler replaces a stopped task. AWS publishes no figure; 0 means at once."""
    minimum_healthy_pct: int = Field(default=100, ge=0, le=100)
    """Tasks in percent of the desired count that keep running during a deployment, rounded up."""
    maximum_pct: int = Field(default=200, ge=100, le=200)
    """Tasks in percent of the desired count that may run during a deployment, rounded down."""

    @model_validator(mode="after")
    def _can_deploy(self) -> Self:
        if self.minimum_healthy_pct == self.maximum_pct:
            raise ValueError(
                "with minimum_healthy_pct and maximum_pct both at 100, ECS can neither stop nor start"
            )
        return self

    @model_validator(mode="after")
    def _fargate_size(self) -> Self:
        sizes = {float(vcpu): gib for vcpu, gib in facts.get("ecs.fargate_sizes").value}
        if self.launch == "fargate" and self.vcpu not in sizes:
            raise ValueError(
                f"Fargate offers {_list(list(sizes))} vCPU (ecs.fargate_sizes), not {self.vcpu:g}"
            )
        if self.launch == "fargate" and self.memory_gib not in sizes[self.vcpu]:
            offered = _list(sizes[self.vcpu])
            raise ValueError(f"Fargate offers {offered} GiB with {self.vcpu:g} vCPU, not {self.memory_gib:g}")
        return self


class Ecs(Component[EcsSettings]):
    """An ECS service in a region."""

    name: ClassVar[str] = "ecs"
    role: ClassVar[Role] = Role.WORKERS
    Settings = EcsSettings

    def place(self, settings: EcsSettings, region: str | None, zones: tuple[str, ...]) -> tuple[Node, ...]:
        """Tasks spread over the zones, as the scheduler does by default."""
        return spread(self.name, settings.replicas_min, zones, spot=settings.spot)

    def behaviour(self, settings: EcsSettings) -> Behaviour:
        """The scheduler deregisters a dead task itself, without waiting for a health check."""
        # On a running instance AWS describes one part of the start-up only: the network interface.
        start = compute.start(
            self.name,
            settings,
            "ecs.fargate_task_start" if settings.launch == "fargate" else "ecs.awsvpc_attach",
        )
        return Behaviour(
            start_s=start.value,
            notice_s=settings.notice_s,
            drain_s=settings.drain_s,
            grace_s=settings.grace_s,
            stop_s=settings.stop_s,
            dead_node=DeadNode.DEREGISTERED,
            spot_notice_s=facts.number("ecs.spot_notice") if settings.spot else None,
            deploy=_deploy(settings),
            scale=compute.scale(settings, _OUT, _IN),
            because=_because(start),
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What is lost with a task, a zone, a region or a deployment."""
        return (
            compute.region_lost(group),
            compute.zone_lost(group),
            compute.bad_deployment(group, "the circuit breaker rolls back to the last version that worked"),
            FailureMode(
                "task crashes",
                "node",
                "requests in flight on it fail; the scheduler deregisters it",
                "at once, when its container exits",
                compute.replaced_after(group),
            ),
            FailureMode(
                "task hangs",
                "node",
                "requests sent to it wait until the load balancer gives it up",
                "by the load balancer's health check",
                f"stopped, killed after {group.behaviour.stop_s:g} s; {compute.replaced_after(group)}",
            ),
            *compute.spot_reclaimed(group),
        )

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """What the ECS agent sets, without the metadata addresses that nothing answers here."""
        fargate = group.settings.launch == "fargate"
        return {
            "AWS_REGION": group.region or "",
            "AWS_DEFAULT_REGION": group.region or "",
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE" if fargate else "AWS_ECS_EC2",
            **compute.place_variables(group, node),
        }


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _deploy(settings: EcsSettings) -> DeployPolicy:
    threshold = facts.get("ecs.circuit_breaker_threshold")
    return DeployPolicy(
        minimum_healthy_pct=settings.minimum_healthy_pct,
        maximum_pct=settings.maximum_pct,
        breaker_failures_min=int(threshold.minimum or threshold.value),
        breaker_failures_max=int(threshold.maximum or threshold.value),
        breaker_fraction=facts.number("ecs.circuit_breaker_fraction"),
    )


def _because(start: compute.Reason) -> dict[str, str]:
    return compute.because(
        "ecs",
        start_s=start,
        scale_out=_OUT,
        scale_in=_IN,
        notice_s="setting:ecs.notice_s",
        stop_s="setting:ecs.stop_s",
        spot_notice_s="fact:ecs.spot_notice",
        deploy__minimum_healthy_pct="setting:ecs.minimum_healthy_pct",
        deploy__maximum_pct="setting:ecs.maximum_pct",
        deploy__breaker_failures_min="fact:ecs.circuit_breaker_threshold",
        deploy__breaker_failures_max="fact:ecs.circuit_breaker_threshold",
        deploy__breaker_fraction="fact:ecs.circuit_breaker_fraction",
    )
