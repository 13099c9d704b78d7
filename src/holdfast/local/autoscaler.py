"""Auto Scaling: once a period, what each region's metrics say and the step that follows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.local.build import Built
from holdfast.local.region import Region
from holdfast.local.scaling import Datapoint, TargetTracker
from holdfast.local.usage import CpuMeter, RequestMeter
from holdfast.model import Event


@dataclass(frozen=True, slots=True)
class _Watched:
    """What is remembered of one region from one datapoint to the next."""

    tracker: TargetTracker
    cpu: CpuMeter = field(default_factory=CpuMeter)
    requests: RequestMeter = field(default_factory=RequestMeter)


class Autoscaler:
    """Target tracking for every region whose platform has a scaling policy."""

    def __init__(self, built: Built, clock: Callable[[], float] = time.monotonic) -> None:
        self._built = built
        self._clock = clock
        policies = {name: region.group.behaviour.scale for name, region in built.regions.items()}
        self._watched = {name: _Watched(TargetTracker(policy)) for name, policy in policies.items() if policy}

    def observe(self, aws_t: float) -> None:
        """Give each region one datapoint, and take the step it asks for.

        ``aws_t`` is in seconds from any fixed moment, as the control plane counts them: times ``--speed``.
        """
        for name, watched in self._watched.items():
            region = self._built.regions[name]
            if not region.down:
                self._step(region, watched, aws_t)

    def _step(self, region: Region, watched: _Watched, aws_t: float) -> None:
        desired = region.workforce.status()["desired"]
        point = self._datapoint(region, watched)
        if decision := watched.tracker.observe(aws_t, point, desired):
            region.workforce.scale(decision.desired)
            message = f"{desired} to {decision.desired} replicas: {decision.reason}"
            self._built.emit(Event(time.time(), "scaled", region.group.id, message))

    def _datapoint(self, region: Region, watched: _Watched) -> Datapoint:
        views = [self._built.supervisor.view(node) for node in region.workforce.nodes()]
        busy = watched.cpu.vcpus([view.pid for view in views if view.pid], self._clock())
        rate = watched.requests.rate(region.balancers.served())
        healthy = max(1, region.workforce.status()["healthy"])
        return Datapoint(cpu_pct(busy, float(region.group.settings.vcpu)), rate / healthy)


def cpu_pct(busy: list[float], vcpu: float) -> float:
    """Average CPU in percent of what a replica is given; ``busy`` holds the vCPUs that each one used.

    Nothing holds a process to its vCPUs here. On AWS it cannot use more, so no replica counts as more than full.
    """
    shares = [min(1.0, used / vcpu) for used in busy]
    return 100.0 * sum(shares) / len(shares) if shares else 0.0
