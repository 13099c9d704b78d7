"""Expected beside measured: a milestone is noted once, when it is first true."""

from __future__ import annotations

import json

import pytest

from holdfast.errors import InputError
from holdfast.local.expect import Expectation
from holdfast.local.faults import Fault, FaultLog
from holdfast.local.targets import Kind, Target

NODE = Target(Kind.NODE, "eu-west-1a/ecs-1")
EXPECTED = (Expectation("out", 0.0, 1.0, "why"), Expectation("replaced", 5.0, None, "why"))


def broken(log: FaultLog, *true: str) -> tuple[Fault, set[str]]:
    """A fault at t = 100 whose milestones come true as their names are put into the returned set."""
    state = set(true)
    fault = log.record("kill", NODE, 100.0, EXPECTED)
    fault.watch.update({name: lambda name=name: name in state for name in ("out", "replaced")})  # type: ignore[misc]
    return fault, state


def test_each_milestone_is_measured_when_it_is_first_true() -> None:
    log = FaultLog()
    fault, state = broken(log)
    assert log.observe(100.2) == []
    state.add("out")
    assert log.observe(100.456) == [(fault, "out")]
    assert log.observe(101.0) == [], "once"
    state.clear()
    state.add("replaced")
    assert log.observe(107.0) == [(fault, "replaced")]
    assert fault.measured == {"out": 0.46, "replaced": 7.0}


def test_a_fault_is_complete_when_all_that_can_be_seen_was_seen() -> None:
    log = FaultLog()
    fault, state = broken(log, "out")
    assert log.watching
    log.observe(101.0)
    assert not fault.complete
    state.add("replaced")
    log.observe(102.0)
    assert fault.complete
    assert not log.watching


def test_a_fault_that_nothing_follows_is_complete_at_once() -> None:
    log = FaultLog()
    assert log.record("resume", NODE, 100.0, ()).complete
    assert not log.watching


def test_faults_are_told_apart_by_number() -> None:
    log = FaultLog()
    first, second = (log.record("kill", NODE, t, ()) for t in (1.0, 2.0))
    assert (first.id, second.id) == ("f1", "f2")
    assert log.get("f2") is second
    with pytest.raises(InputError, match="no fault f3"):
        log.get("f3")


def test_what_is_shown_can_be_sent() -> None:
    log = FaultLog()
    fault, _ = broken(log, "out")
    log.observe(100.5)
    row = json.loads(json.dumps(fault.as_json()))
    assert (row["operation"], row["target"], row["kind"], row["t"]) == ("kill", NODE.id, "node", 100.0)
    assert [one["name"] for one in row["expected"]] == ["out", "replaced"]
    assert (row["measured"], row["complete"]) == ({"out": 0.5}, False)
