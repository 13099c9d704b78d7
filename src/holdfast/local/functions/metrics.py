"""What a front has counted since it started, in CloudWatch's words where CloudWatch has one.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any

from holdfast.local.functions.refusals import ERRORS, Refusal

BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000)
"""Upper bounds of the duration buckets; one more holds everything above."""


class Durations:
    """A histogram of milliseconds."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(BOUNDS_MS) + 1)
        self._sum_ms = 0.0
        self._max_ms = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        value = seconds * 1000
        self._buckets[bisect_left(BOUNDS_MS, value)] += 1
        self._sum_ms += value
        self._max_ms = max(self._max_ms, value)

    def snapshot(self) -> dict[str, Any]:
        """Count, sum and maximum in ms, and the count below each bound (not cumulative)."""
        names = [str(bound) for bound in BOUNDS_MS] + ["inf"]
        buckets = {name: count for name, count in zip(names, self._buckets, strict=True) if count}
        return {"count": sum(self._buckets), "sum_ms": self._sum_ms, "max_ms": self._max_ms, "le_ms": buckets}


class Metrics:
    """Counters of one front."""

    def __init__(self) -> None:
        self.invocations = 0
        self.cold_starts = 0
        self.provisioned_starts = 0
        self.refusals: Counter[Refusal] = Counter()
        self.duration = Durations()
        self.init_duration = Durations()

    def initialised(self, seconds: float, *, provisioned: bool) -> None:
        """An environment came up after ``seconds``."""
        self.init_duration.add(seconds)
        if provisioned:
            self.provisioned_starts += 1
        else:
            self.cold_starts += 1

    def snapshot(self) -> dict[str, Any]:
        """All counters, JSON-able."""
        return {
            "invocations": self.invocations,
            "cold_starts": self.cold_starts,
            "provisioned_starts": self.provisioned_starts,
            "throttles": self.refusals[Refusal.THROTTLED],
            "errors": sum(self.refusals[refusal] for refusal in ERRORS),
            "refusals": {refusal.value: count for refusal, count in self.refusals.items()},
            "duration": self.duration.snapshot(),
            "init_duration": self.init_duration.snapshot(),
        }
