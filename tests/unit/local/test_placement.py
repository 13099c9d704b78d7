"""Zones for new and leaving nodes, and the steps of a rolling replacement."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.local.placement import move, rolling_step, zone_for_new, zone_to_shrink
from holdfast.model import DeployPolicy

ZONES = ("a", "b", "c")
ECS = DeployPolicy(minimum_healthy_pct=100, maximum_pct=200)
REFRESH = DeployPolicy(minimum_healthy_pct=90, maximum_pct=100)
KUBERNETES = DeployPolicy(minimum_healthy_pct=75, maximum_pct=125)


def test_a_new_node_goes_to_the_emptiest_usable_zone() -> None:
    assert zone_for_new(ZONES, ["a", "b", "b"]) == "c"
    assert zone_for_new(("a", "b"), ["a", "b", "b"]) == "a"
    assert zone_for_new((), ["a"]) is None


def test_a_leaving_node_comes_from_the_fullest_zone() -> None:
    assert zone_to_shrink(["a", "b", "b"]) == "b"
    assert zone_to_shrink([]) is None


def test_a_fleet_is_moved_only_when_it_differs_by_more_than_one() -> None:
    assert move(ZONES, ["b", "b", "c"]) == ("b", "a")
    assert move(ZONES, ["a", "b", "b", "c"]) is None
    assert move((), []) is None


@given(st.lists(st.sampled_from(ZONES), max_size=30))
def test_repeated_moves_end_balanced(occupied: list[str]) -> None:
    for _ in range(60):
        step = move(ZONES, occupied)
        if step is None:
            break
        occupied.remove(step[0])
        occupied.append(step[1])
    counts = Counter(occupied)
    assert max(counts[z] for z in ZONES) - min(counts[z] for z in ZONES) <= 1


@pytest.mark.parametrize(
    ("policy", "desired", "start", "stop"),
    [(ECS, 3, 3, 0), (KUBERNETES, 4, 2, 1), (REFRESH, 3, 1, 1), (REFRESH, 1, 1, 1)],
    ids=["ecs doubles", "kubernetes one up one down", "refresh stops first", "refresh of a single node"],
)
def test_the_first_step(policy: DeployPolicy, desired: int, start: int, stop: int) -> None:
    step = rolling_step(policy, desired, old=desired, new_healthy=0, new_pending=0)
    assert (step.start, step.stop) == (start, stop)


@given(
    desired=st.integers(1, 40),
    minimum=st.integers(0, 100),
    maximum=st.integers(100, 200),
    ready=st.lists(st.integers(0, 5), min_size=1, max_size=10),
)
def test_every_policy_finishes_within_its_bounds(
    desired: int, minimum: int, maximum: int, ready: list[int]
) -> None:
    policy = DeployPolicy(minimum_healthy_pct=minimum, maximum_pct=maximum)
    floor = -(-desired * minimum // 100)
    ceiling = max(desired * maximum // 100, desired)
    stuck = ceiling <= desired and floor >= desired
    old, healthy, pending = desired, 0, 0
    for turn in range(desired * 12):
        step = rolling_step(policy, desired, old=old, new_healthy=healthy, new_pending=pending)
        old, pending = old - step.stop, pending + step.start
        assert old + healthy >= (floor - 1 if stuck else floor) or old + healthy >= desired
        assert old + healthy + pending <= ceiling
        up = min(pending, max(1, ready[turn % len(ready)]))
        pending, healthy = pending - up, healthy + up
        if old == 0 and healthy == desired:
            return
    pytest.fail(f"stuck with {old} old, {healthy} healthy")
