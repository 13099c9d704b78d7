"""The checker fleet: replayed results in, status out; and how long it takes to notice.

https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
"""

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.local.dns.health import CHECKERS, CheckerFleet, Fleet
from holdfast.model import HealthCheck

POLICY = HealthCheck(interval_s=10, timeout_s=6, unhealthy_threshold=3, healthy_threshold=3)
ONE = Fleet(checkers=1)


def replay(results: str, fleet: Fleet = ONE) -> str:
    """Results of one checker, "." for a pass and "x" for a failure, to statuses "+" and "-"."""
    check = CheckerFleet(POLICY, fleet)
    statuses = []
    for t, result in enumerate(results):
        check.observe(0, t, "refused" if result == "x" else "")
        statuses.append("+" if check.healthy else "-")
    return "".join(statuses)


@pytest.mark.parametrize(
    ("results", "statuses"),
    [
        ("xx.xx.xx", "++++++++"),
        ("xxx", "++-"),
        ("xxx..x...", "++------+"),
        ("...xxxx...", "+++++----+"),
    ],
)
def test_a_checker_turns_after_three_in_a_row(results: str, statuses: str) -> None:
    assert replay(results) == statuses


def test_new_checks_count_as_healthy() -> None:
    status = CheckerFleet(POLICY, started=5.0).status
    assert (status.healthy, status.since, status.healthy_share, status.last_failure) == (True, 5.0, 1.0, "")


@given(st.integers(1, 200))
def test_healthy_iff_more_than_18_percent_say_so(checkers: int) -> None:
    check = CheckerFleet(POLICY, Fleet(checkers))
    for failing in range(checkers):
        for t in range(3):
            check.observe(failing, t, "refused")
        healthy = checkers - failing - 1
        assert check.healthy == (healthy * 100 > 18 * checkers)
        assert check.status.healthy_share == pytest.approx(healthy / checkers)


def test_isolated_regions_do_not_make_an_endpoint_unhealthy() -> None:
    """ "This prevents an endpoint from being considered unhealthy only because network conditions have isolated
    the endpoint from some health-checking locations." Six of the eight regions may be cut off."""
    check = CheckerFleet(POLICY)
    regions = sorted({check.fleet.region(checker) for checker in range(CHECKERS)})
    for checker in range(CHECKERS):
        if check.fleet.region(checker) in regions[:6]:
            for t in range(3):
                check.observe(checker, t, "timed out")
    assert check.healthy
    assert check.status.healthy_share == 0.25


def test_status_remembers_when_and_why() -> None:
    check = CheckerFleet(POLICY, ONE)
    assert [check.observe(0, t, "HTTP Status Code 503") for t in (1.0, 2.0, 3.0, 4.0)] == [
        False,
        False,
        True,
        False,
    ]
    assert (check.status.since, check.status.last_failure) == (3.0, "HTTP Status Code 503")
    assert [check.observe(0, t) for t in (5.0, 6.0, 7.0)] == [False, False, True]
    assert (check.status.since, check.status.last_failure) == (7.0, "HTTP Status Code 503")


def test_each_direction_has_its_own_threshold() -> None:
    """Route 53 has one for both; Elastic Load Balancing has two."""
    check = CheckerFleet(HealthCheck(10, 6, unhealthy_threshold=2, healthy_threshold=4), ONE)
    changed = [check.observe(0, t, failure) for t, failure in enumerate(["no", "no", "", "", "", ""])]
    assert changed == [False, True, False, False, False, True]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 10), st.integers(1, 10))
def test_a_change_is_reported_exactly_when_the_status_changes(
    results: list[bool], down: int, up: int
) -> None:
    check = CheckerFleet(HealthCheck(10, 6, down, up), ONE)
    for t, ok in enumerate(results):
        before = check.healthy
        assert check.observe(0, t, "" if ok else "no") == (check.healthy != before)


def detection_s(fleet: Fleet, rng: random.Random, timeout_s: float = 0.0, recover: bool = False) -> float:
    """Seconds from a failure (or recovery) at t=0 to the changed status, in a fleet with random phases."""
    check = CheckerFleet(POLICY, fleet)
    if recover:
        for checker in range(fleet.checkers):
            for _ in range(POLICY.unhealthy_threshold):
                check.observe(checker, -1.0, "down")
    phases = [rng.random() * POLICY.interval_s for _ in range(fleet.checkers)]
    probes = sorted((phase + n * POLICY.interval_s, c) for c, phase in enumerate(phases) for n in range(12))
    return next(t + timeout_s for t, c in probes if check.observe(c, t, "" if recover else "down"))


@pytest.mark.parametrize("timeout_s", [0.0, 6.0])
def test_detection_by_a_single_checker(timeout_s: float) -> None:
    """Mean ``(threshold - 1/2) * interval + timeout``, within ``model.HealthCheck``'s bounds."""
    rng = random.Random(11)
    times = [detection_s(ONE, rng, timeout_s) for _ in range(3000)]
    assert fmean(times) == pytest.approx(2.5 * 10 + timeout_s, rel=0.02)
    assert POLICY.detect_min_s <= min(times)
    assert max(times) <= POLICY.detect_max_s
    assert max(times) - min(times) > 9.5


@pytest.mark.parametrize(("recover", "kth"), [(False, 14), (True, 3)])
def test_detection_by_the_fleet(recover: bool, kth: int) -> None:
    """Mean ``(threshold - 1 + k / (n + 1)) * interval``: out with the 14th of 16 checkers, back with the third."""
    rng = random.Random(12)
    fleet = Fleet()
    assert (fleet.turns_healthy_at if recover else fleet.turns_unhealthy_at) == kth
    times = [detection_s(fleet, rng, recover=recover) for _ in range(1500)]
    assert fmean(times) == pytest.approx((2 + kth / 17) * 10, rel=0.02)
    assert min(times) >= 20
    assert max(times) <= 30
