"""Amazon EKS: pods of a Kubernetes deployment on managed nodes that are already up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, model_validator

from holdfast import facts
from holdfast.components import compute
from holdfast.components.base import Component, spread
from holdfast.model import Behaviour, DeadNode, DeployPolicy, FailureMode, Group, Node, Role

_OUT, _IN = "eks.hpa_sync_period", "eks.hpa_downscale_window"


class EksSettings(compute.ReplicaSettings):
    """The ``[eks]`` table of a manifest."""

    stop_s: float = Field(default=30.0, ge=0)
    """Seconds from SIGTERM to SIGKILL (Kubernetes: terminationGracePeriodSeconds)."""
    notice_s: float = Field(default=0.0, ge=0)
    """Seconds until a pod whose program ended is replaced. No figure is published; 0 means at once."""
    out_cooldown_s: float = Field(default=0.0, ge=0)
    """Seconds after a scale-out before the next; the horizontal pod autoscaler has no such pause."""
    in_cooldown_s: float = Field(default=0.0, ge=0)
    """Seconds after a scale-in before the next; the stabilization window does this work instead."""
    max_unavailable_pct: int = Field(default=0, ge=0, le=100)
    """Pods in percent that may be missing during a rollout, rounded down. Kubernetes' default is 25."""
    max_surge_pct: int = Field(default=50, ge=0, le=100)
    """Pods in percent above the desired count during a rollout, rounded up. Kubernetes' default is 25."""
    breaker_failures: int = Field(default=3, ge=1)
    """Failed starts after which Holdfast rolls back; Kubernetes itself only reports a missed deadline."""

    @model_validator(mode="after")
    def _can_roll(self) -> Self:
        if not self.max_unavailable_pct and not self.max_surge_pct:
            raise ValueError("Kubernetes refuses max_unavailable_pct and max_surge_pct that are both 0")
        return self


class Eks(Component[EksSettings]):
    """A Kubernetes deployment in a region."""

    name: ClassVar[str] = "eks"
    role: ClassVar[Role] = Role.WORKERS
    Settings = EksSettings

    def place(self, settings: EksSettings, region: str | None, zones: tuple[str, ...]) -> tuple[Node, ...]:
        """Pods spread over the zones by a topology spread constraint."""
        return spread(self.name, settings.replicas_min, zones, spot=settings.spot)

    def behaviour(self, settings: EksSettings) -> Behaviour:
        """The endpoint controller takes a dead pod out of the target group by itself."""
        start = compute.start(self.name, settings, "eks.pod_start")
        return Behaviour(
            start_s=start.value,
            notice_s=settings.notice_s,
            drain_s=settings.drain_s,
            grace_s=settings.grace_s,
            stop_s=settings.stop_s,
            dead_node=DeadNode.DEREGISTERED,
            spot_notice_s=facts.number("eks.spot_notice") if settings.spot else None,
            deploy=_deploy(settings),
            scale=compute.scale(settings, _OUT, _IN),
            because=_because(start),
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What is lost with a pod, an instance, a zone, a region or a rollout."""
        return (
            compute.region_lost(group),
            compute.zone_lost(group, f"in the zones that are left, {_moved()}"),
            compute.bad_deployment(group, "the rollout is undone; Kubernetes alone would stop and wait"),
            _instance_silent(),
            FailureMode(
                "pod crashes",
                "node",
                "requests in flight on it fail; it leaves the target group",
                "at once, when its container exits",
                f"restarted in place, with a pause that doubles up to {_pause_s():g} s if it keeps crashing",
            ),
            FailureMode(
                "pod hangs",
                "node",
                "requests sent to it wait until the load balancer gives it up",
                "by the load balancer's health check, or by a liveness probe",
                f"stopped after {group.behaviour.stop_s:g} s; {compute.replaced_after(group)}",
            ),
            *compute.spot_reclaimed(group),
        )

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """What the pod template sets (downward API), and the region that EKS adds along with an IAM role."""
        return {
            "AWS_REGION": group.region or "",
            "AWS_DEFAULT_REGION": group.region or "",
            "POD_NAME": node.id.replace("/", "-"),
            "POD_NAMESPACE": "default",
            **compute.place_variables(group, node),
        }


def _pause_s() -> float:
    return facts.number("eks.restart_backoff_max")


def _moved() -> str:
    evicted_s = facts.number("eks.pod_eviction_toleration")
    return f"pods start again {evicted_s:g} s after their instance was marked not ready"


def _instance_silent() -> FailureMode:
    unready_s = facts.number("eks.node_not_ready_after")
    return FailureMode(
        "instance goes silent",
        "node",
        "all pods on it stop answering",
        f"marked not ready after {unready_s:g} s; the load balancer's health check is faster",
        f"{_moved()}; until then the health check keeps requests away",
    )


def _deploy(settings: EksSettings) -> DeployPolicy:
    return DeployPolicy(
        minimum_healthy_pct=100 - settings.max_unavailable_pct,
        maximum_pct=100 + settings.max_surge_pct,
        breaker_failures_min=settings.breaker_failures,
        breaker_failures_max=settings.breaker_failures,
        breaker_fraction=0.0,
    )


def _because(start: compute.Reason) -> dict[str, str]:
    return compute.because(
        "eks",
        start_s=start,
        scale_out=_OUT,
        scale_in=_IN,
        notice_s="setting:eks.notice_s",
        stop_s="setting:eks.stop_s",
        spot_notice_s="fact:eks.spot_notice",
        deploy__minimum_healthy_pct="setting:eks.max_unavailable_pct",
        deploy__maximum_pct="setting:eks.max_surge_pct",
        deploy__breaker_failures_min="setting:eks.breaker_failures",
        deploy__breaker_failures_max="setting:eks.breaker_failures",
        deploy__breaker_fraction="setting:eks.breaker_failures",
    )
