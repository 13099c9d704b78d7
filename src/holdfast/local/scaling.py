"""Target tracking as AWS Auto Scaling does it, as a value machine fed with one-minute datapoints.

https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html

Scale-out looks at the last ``out_after_s`` of datapoints, scale-in at the last ``in_after_s``; every datapoint in
that window must agree. The new size is proportional to metric / target. A cool-down after each step keeps the
next one away. Of several metrics the one that wants the most nodes wins, so a scale-in needs all of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.model import ScalePolicy

PERIOD_S = 60.0
"""Length of one datapoint; the metrics of ALB, ECS and EC2 (detailed monitoring) have one-minute periods."""

SCALE_IN_MARGIN = 0.9
"""Scale-in waits until the metric is below this share of the target, so that it does not swing."""


@dataclass(frozen=True, slots=True)
class Datapoint:
    """Average over one period: CPU of the nodes in percent of what they are given, requests/s per node."""

    cpu_pct: float
    rps_per_node: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A new desired count and the sentence that explains it."""

    desired: int
    reason: str


@dataclass(slots=True)
class TargetTracker:
    """Feed :meth:`observe` once a period; times are AWS seconds (already multiplied by ``--speed``)."""

    policy: ScalePolicy
    _points: deque[Datapoint] = field(default_factory=deque)
    _last_step_t: float = -math.inf
    _last_was_out: bool = True

    def observe(self, t: float, point: Datapoint, desired: int) -> Decision | None:
        """The step to take now, or ``None``. ``desired`` is the present desired count."""
        self._points.append(point)
        while len(self._points) > self._length(max(self.policy.in_after_s, self.policy.out_after_s)):
            self._points.popleft()
        step = self._scale_out(desired) or self._scale_in(desired)
        if step is None or self._cooling(t, out=step.desired > desired):
            return None
        self._last_step_t, self._last_was_out = t, step.desired > desired
        self._points.clear()
        return step

    def _cooling(self, t: float, *, out: bool) -> bool:
        cooldown = self.policy.out_cooldown_s if out else self.policy.in_cooldown_s
        return t - self._last_step_t < cooldown

    @staticmethod
    def _length(seconds: float) -> int:
        return max(1, round(seconds / PERIOD_S))

    def _targets(self) -> Mapping[str, float]:
        named = {"cpu_pct": self.policy.cpu_pct, "rps_per_node": self.policy.rps_per_node}
        return {name: target for name, target in named.items() if target}

    def _window(self, seconds: float) -> list[Datapoint]:
        length = self._length(seconds)
        return list(self._points)[-length:] if len(self._points) >= length else []

    def _wanted(self, window: list[Datapoint], name: str, target: float, desired: int) -> int:
        latest: float = getattr(window[-1], name)
        return math.ceil(round(desired * latest / target, 6))

    def _scale_out(self, desired: int) -> Decision | None:
        window = self._window(self.policy.out_after_s)
        wants = {
            name: self._wanted(window, name, target, desired)
            for name, target in self._targets().items()
            if window and all(getattr(point, name) > target for point in window)
        }
        if not wants:
            return None
        name, wanted = max(wants.items(), key=lambda item: item[1])
        size = min(self.policy.maximum, wanted)
        return Decision(size, self._sentence(name, window, "above")) if size > desired else None

    def _scale_in(self, desired: int) -> Decision | None:
        window = self._window(self.policy.in_after_s)
        targets = self._targets()
        if not window or not targets:
            return None
        for name, target in targets.items():
            if not all(getattr(point, name) < target * SCALE_IN_MARGIN for point in window):
                return None
        wanted = {name: self._wanted(window, name, target, desired) for name, target in targets.items()}
        name, size = max(wanted.items(), key=lambda item: item[1])
        size = max(self.policy.minimum, size, 1)
        return Decision(size, self._sentence(name, window, "below")) if size < desired else None

    def _sentence(self, name: str, window: list[Datapoint], side: str) -> str:
        unit = "% CPU" if name == "cpu_pct" else " requests/s per node"
        return (
            f"{getattr(window[-1], name):.0f}{unit} is {side} the target of {self._targets()[name]:.0f}{unit}"
        )
