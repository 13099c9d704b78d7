"""Counters, and what a refused caller reads."""

from __future__ import annotations

import json

import pytest

from holdfast.local.functions.metrics import Metrics
from holdfast.local.functions.refusals import ERRORS, Refusal, reply


def test_a_duration_is_in_the_first_bucket_it_does_not_exceed() -> None:
    metrics = Metrics()
    for seconds in (0.0004, 0.001, 0.0011, 45.0):
        metrics.duration.add(seconds)
    snapshot = metrics.snapshot()["duration"]
    assert snapshot["le_ms"] == {"1": 2, "2": 1, "inf": 1}
    assert (snapshot["count"], snapshot["max_ms"]) == (4, 45_000.0)
    assert snapshot["sum_ms"] == pytest.approx(45_002.5)


def test_only_a_start_on_demand_is_cold() -> None:
    metrics = Metrics()
    metrics.initialised(0.2, provisioned=True)
    metrics.initialised(0.3, provisioned=False)
    snapshot = metrics.snapshot()
    assert (snapshot["cold_starts"], snapshot["provisioned_starts"]) == (1, 1)
    assert snapshot["init_duration"]["count"] == 2


def test_throttles_and_errors_are_counted_as_cloudwatch_does() -> None:
    metrics = Metrics()
    metrics.refusals.update([Refusal.THROTTLED, Refusal.TIMED_OUT, Refusal.CRASHED, Refusal.MALFORMED])
    snapshot = metrics.snapshot()
    assert (snapshot["throttles"], snapshot["errors"]) == (1, 2)
    assert json.loads(json.dumps(snapshot)) == snapshot


@pytest.mark.parametrize("refusal", Refusal)
def test_each_refusal_has_its_documented_status(refusal: Refusal) -> None:
    expected = {"throttled": 500, "integration-timeout": 504, "request-too-long": 413}
    answer = reply(refusal, throttled_status=500)
    assert answer.status == expected.get(refusal.value, 502)
    assert set(json.loads(answer.body)) == {"message"}


def test_a_function_url_says_429() -> None:
    assert reply(Refusal.THROTTLED, 429).status == 429


def test_a_malformed_answer_and_a_throttle_are_no_errors_of_the_function() -> None:
    assert {Refusal.MALFORMED, Refusal.THROTTLED, Refusal.INTEGRATION_TIMEOUT} & ERRORS == set()
