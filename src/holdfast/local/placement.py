"""Where nodes go: the arithmetic that Auto Scaling groups and ECS services share.

New nodes go to the usable zone with the fewest; a node that must leave comes from the zone with the most. A fleet
is out of balance when two usable zones differ by more than one node
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/rebalance.html).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.model import DeployPolicy


def zone_for_new(zones: Sequence[str], occupied: Iterable[str]) -> str | None:
    """The usable zone with the fewest nodes (first of equals), or ``None`` when no zone is usable."""
    counts = Counter(occupied)
    return min(zones, key=lambda zone: (counts[zone], zones.index(zone)), default=None)


def zone_to_shrink(occupied: Iterable[str]) -> str | None:
    """The zone that has the most nodes (last of equals), or ``None`` when there are no nodes."""
    counts = Counter(occupied)
    return max(sorted(counts), key=lambda zone: (counts[zone], zone), default=None)


def move(zones: Sequence[str], occupied: Sequence[str]) -> tuple[str, str] | None:
    """The (from, to) zones of one rebalancing move, or ``None`` when the fleet is balanced."""
    if not zones:
        return None
    counts = Counter(zone for zone in occupied if zone in zones)
    fullest = max(zones, key=lambda zone: counts[zone])
    emptiest = min(zones, key=lambda zone: counts[zone])
    return (fullest, emptiest) if counts[fullest] - counts[emptiest] > 1 else None


@dataclass(frozen=True, slots=True)
class RollingStep:
    """What a rolling deployment may do now."""

    start: int
    stop: int


def rolling_step(
    policy: DeployPolicy, desired: int, *, old: int, new_healthy: int, new_pending: int
) -> RollingStep:
    """How many new nodes to start and old ones to stop, given what runs.

    ``minimum_healthy_pct`` is rounded up and ``maximum_pct`` down, as ECS does
    (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html). Where rounding
    leaves no room either way, one node is replaced at a time, stop first, as an instance refresh does.
    """
    floor = -(-desired * policy.minimum_healthy_pct // 100)
    ceiling = desired * policy.maximum_pct // 100
    if ceiling <= desired and floor >= desired:
        floor = desired - 1 if desired > 1 else 0
    stop = max(0, min(old, old + new_healthy - floor))
    start = max(
        0, min(desired - new_healthy - new_pending, ceiling - (old - stop) - new_healthy - new_pending)
    )
    return RollingStep(start, stop)
