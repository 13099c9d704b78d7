"""What the four platforms that run long-lived replicas (EC2, ECS, EKS, Elastic Beanstalk) have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, model_validator

from holdfast import facts
from holdfast.components.base import Settings
from holdfast.components.limits import allowed
from holdfast.model import DeployPolicy, FailureMode, Group, Node, ScalePolicy


class ReplicaSettings(Settings):
    """Settings of every platform that keeps a number of replicas running in a region."""

    replicas_min: int = Field(default=3, ge=1)
    """Replicas a region keeps at least. With one in each of three zones, losing a zone leaves two thirds."""
    replicas_max: int = Field(default=30, ge=1)
    """Replicas a region scales out to at most."""
    vcpu: float = Field(default=0.5, gt=0)
    """vCPUs of one replica."""
    memory_gib: float = Field(default=1.0, gt=0)
    """Memory of one replica, in GiB."""
    spot: float = Field(default=0.0, ge=0, le=1)
    """Share (0 to 1) of the replicas that run on Spot capacity, which AWS may take back after a notice."""
    drain_s: Annotated[float, allowed("alb.deregistration_delay")] = 20.0
    """Seconds that a replica keeps finishing requests after the load balancer stopped sending it new ones."""
    grace_s: float = Field(default=60.0, gt=0)
    """Seconds in which a new replica may fail its health check before it is replaced (AWS: grace period)."""
    scale_cpu_pct: float | None = Field(default=None, gt=0, le=100)
    """Average CPU in percent to keep by adding and removing replicas; none means that CPU does not scale."""
    scale_rps: float | None = Field(default=None, gt=0)
    """Requests per second and replica to keep; none means that requests do not scale."""
    out_cooldown_s: float = Field(default=300.0, ge=0)
    """Seconds after a scale-out in which new replicas are counted before more are added."""
    in_cooldown_s: float = Field(default=300.0, ge=0)
    """Seconds after a scale-in before the next one."""
    start_s: float | None = Field(default=None, ge=0)
    """Seconds from a launch until the program starts, as you measured it; none takes the platform's fact."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.replicas_min > self.replicas_max:
            raise ValueError(
                f"replicas_min ({self.replicas_min}) is above replicas_max ({self.replicas_max})"
            )
        return self


@dataclass(frozen=True, slots=True)
class Reason:
    """A number in seconds and where it comes from."""

    value: float | None
    because: str


def start(name: str, settings: ReplicaSettings, fact: str) -> Reason:
    """The user's own start-up time, else the fact's."""
    if settings.start_s is not None:
        return Reason(settings.start_s, f"setting:{name}.start_s")
    return Reason(facts.number(fact), f"fact:{fact}")


def scale(settings: ReplicaSettings, out_fact: str, in_fact: str) -> ScalePolicy:
    """The scaling policy; the two facts give the time that a breach must last before replicas change."""
    return ScalePolicy(
        minimum=settings.replicas_min,
        maximum=settings.replicas_max,
        cpu_pct=settings.scale_cpu_pct,
        rps_per_node=settings.scale_rps,
        out_after_s=facts.number(out_fact),
        in_after_s=facts.number(in_fact),
        out_cooldown_s=settings.out_cooldown_s,
        in_cooldown_s=settings.in_cooldown_s,
    )


def because(name: str, *, start_s: Reason, scale_out: str, scale_in: str, **more: str) -> dict[str, str]:
    """Reasons of the numbers that every platform has; ``more`` adds its own, ``__`` standing for the dot."""
    own = {field.replace("__", "."): reason for field, reason in more.items()}
    return {
        "start_s": start_s.because,
        "drain_s": f"setting:{name}.drain_s",
        "grace_s": f"setting:{name}.grace_s",
        "scale.minimum": f"setting:{name}.replicas_min",
        "scale.maximum": f"setting:{name}.replicas_max",
        "scale.cpu_pct": f"setting:{name}.scale_cpu_pct",
        "scale.rps_per_node": f"setting:{name}.scale_rps",
        "scale.out_after_s": f"fact:{scale_out}",
        "scale.in_after_s": f"fact:{scale_in}",
        "scale.out_cooldown_s": f"setting:{name}.out_cooldown_s",
        "scale.in_cooldown_s": f"setting:{name}.in_cooldown_s",
        **own,
    }


def place_variables(group: Group, node: Node) -> Mapping[str, str]:
    """Where a program runs, in Holdfast's own variables; AWS sets none of these."""
    return {"HOLDFAST_REGION": group.region or "", "HOLDFAST_ZONE": node.zone or "", "HOLDFAST_NODE": node.id}


def replaced_after(group: Group) -> str:
    """``a replacement is launched after 60 s and starts within another 26 s``, from the group's numbers."""
    notice_s, start_s = group.behaviour.notice_s or 0, group.behaviour.start_s
    when = f"is launched after {notice_s:g} s" if notice_s else "is launched at once (no figure is published)"
    begins = (
        f"its program starts {start_s:g} s later"
        if start_s is not None
        else "AWS gives no time for its start"
    )
    return f"a replacement {when}; {begins}"


def zone_lost(group: Group, recover: str | None = None) -> FailureMode:
    """The replicas of one zone go at once; ``recover`` replaces the usual way back."""
    share = max(sum(node.zone == zone for node in group.nodes) for zone in group.zones) if group.zones else 0
    return FailureMode(
        "zone lost",
        "zone",
        f"up to {share} of {len(group.nodes)} replicas go at once; the others must carry the whole load",
        "by the load balancer's health check; the platform follows, AWS does not say when",
        recover or f"in the zones that are left, once the platform knows, {replaced_after(group)}",
    )


def region_lost(group: Group) -> FailureMode:
    """Nothing inside a region recovers from its loss."""
    return FailureMode(
        "region lost",
        "region",
        f"all {len(group.nodes)} replicas are unreachable",
        "by the health check of DNS or the CDN, not by the platform",
        "requests go to another region, which needs room for them; this one refills when it is back",
    )


def spot_reclaimed(group: Group) -> tuple[FailureMode, ...]:
    """AWS takes Spot capacity back; empty without Spot nodes."""
    notice_s, count = group.behaviour.spot_notice_s, sum(node.spot for node in group.nodes)
    if notice_s is None:
        return ()
    mode = FailureMode(
        "Spot capacity reclaimed",
        "node",
        f"up to {count} of {len(group.nodes)} replicas stop, possibly together",
        f"AWS announces it {notice_s:g} s before",
        f"it drains for {group.behaviour.drain_s or 0:g} s; {replaced_after(group)}, if Spot has room",
    )
    return (mode,)


def bad_deployment(group: Group, recover: str) -> FailureMode:
    """A new version that does not start, or starts and never becomes healthy."""
    policy = group.behaviour.deploy or DeployPolicy()
    failures = policy.breaker_failures(len(group.nodes))
    return FailureMode(
        "bad deployment",
        "deploy",
        f"at least {policy.minimum_healthy_pct} % of the replicas keep serving the old version",
        f"{failures} failed starts of the new version",
        recover,
    )
