"""Target tracking, fed datapoint by datapoint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.local.scaling import Datapoint, TargetTracker
from holdfast.model import ScalePolicy

POLICY = ScalePolicy(minimum=2, maximum=10, cpu_pct=60.0, rps_per_node=None)


def feed(tracker: TargetTracker, cpu: float, desired: int, minutes: range) -> list[int]:
    steps = []
    for minute in minutes:
        if decision := tracker.observe(minute * 60.0, Datapoint(cpu, 0.0), desired):
            desired = decision.desired
            steps.append(desired)
    return steps


def test_scales_out_after_three_minutes_in_proportion() -> None:
    tracker = TargetTracker(POLICY)
    assert feed(tracker, 90.0, 4, range(1, 3)) == []
    assert feed(tracker, 90.0, 4, range(3, 4)) == [6]


def test_one_quiet_minute_among_three_holds_it_back() -> None:
    tracker = TargetTracker(POLICY)
    assert feed(tracker, 90.0, 4, range(1, 3)) == []
    assert feed(tracker, 50.0, 4, range(3, 4)) == []
    assert feed(tracker, 90.0, 4, range(4, 6)) == []


def test_scale_in_needs_fifteen_minutes_and_stops_at_the_minimum() -> None:
    tracker = TargetTracker(POLICY)
    assert feed(tracker, 1.0, 4, range(1, 15)) == []
    assert feed(tracker, 1.0, 4, range(15, 16)) == [2]


def test_between_ninety_percent_and_the_target_nothing_moves() -> None:
    assert feed(TargetTracker(POLICY), 57.0, 4, range(1, 60)) == []


def test_cooldown_separates_two_steps() -> None:
    tracker = TargetTracker(POLICY)
    steps = [minute for minute in range(1, 12) if tracker.observe(minute * 60.0, Datapoint(90.0, 0.0), 4)]
    assert steps == [3, 8], "300 s of cool-down after the step in minute 3"


def test_the_hungriest_metric_wins_and_scale_in_needs_all() -> None:
    policy = ScalePolicy(minimum=1, maximum=20, cpu_pct=50.0, rps_per_node=100.0)
    tracker = TargetTracker(policy)
    for minute in range(1, 3):
        tracker.observe(minute * 60.0, Datapoint(75.0, 300.0), 2)
    decision = tracker.observe(180.0, Datapoint(75.0, 300.0), 2)
    assert decision is not None
    assert decision.desired == 6
    assert "requests/s" in decision.reason

    quiet_cpu_only = TargetTracker(policy)
    assert not any(quiet_cpu_only.observe(m * 60.0, Datapoint(1.0, 95.0), 4) for m in range(1, 40))


@given(
    st.lists(st.floats(0, 400, allow_nan=False), min_size=1, max_size=60),
    st.integers(2, 10),
)
def test_never_leaves_its_bounds(metrics: list[float], desired: int) -> None:
    tracker = TargetTracker(POLICY)
    for minute, cpu in enumerate(metrics, start=1):
        if decision := tracker.observe(minute * 60.0, Datapoint(cpu, 0.0), desired):
            assert POLICY.minimum <= decision.desired <= POLICY.maximum
            assert decision.desired != desired
            desired = decision.desired


def test_without_a_metric_it_never_acts() -> None:
    tracker = TargetTracker(ScalePolicy(minimum=1, maximum=5))
    assert not any(tracker.observe(m * 60.0, Datapoint(100.0, 1000.0), 3) for m in range(1, 40))


@pytest.mark.parametrize("cpu", [61.0, 1000.0])
def test_never_above_the_maximum(cpu: float) -> None:
    tracker = TargetTracker(POLICY)
    assert feed(tracker, cpu, 10, range(1, 30)) == []
