"""The scheduler, replayed: messages in, actions out, the clock in the messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.local.functions.config import FunctionConfig
from holdfast.local.functions.messages import (
    Abandoned,
    Action,
    Answered,
    Arrived,
    Dispatch,
    Exited,
    Forget,
    InitFailed,
    Initialised,
    Limits,
    Message,
    Probe,
    Ready,
    Refuse,
    Retire,
    Shift,
    StartEnvironment,
    Tick,
    VersionState,
    Want,
    ZoneChanged,
)
from holdfast.local.functions.pool import Phase
from holdfast.local.functions.refusals import Refusal
from holdfast.local.functions.scheduler import Scheduler

FUNCTION = FunctionConfig(
    name="f", app="a:b", region="eu-west-1", zones=("a", "b", "c"), concurrency=3, timeout_s=3.0, memory_mb=128,
    max_payload_bytes=1000, init_timeout_s=10.0, integration_timeout_s=29.0, idle_s=60.0,
)  # fmt: skip


def fresh(**changes: Any) -> Scheduler:
    return Scheduler(replace(FUNCTION, **changes), version=1)


def replay(scheduler: Scheduler, *messages: Message) -> list[Action]:
    """What all of ``messages`` lead to, without the running totals."""
    return [a for message in messages for a in scheduler.decide(message) if not isinstance(a, Want)]


def warm(count: int = 1, **changes: Any) -> Scheduler:
    """A scheduler with ``count`` idle environments f-1, f-2 ... at time 0."""
    scheduler = fresh(**changes)
    for number in range(1, count + 1):
        scheduler.decide(Arrived(0, f"warm-{number}"))
    for number in range(1, count + 1):
        scheduler.decide(Ready(0, f"f-{number}"))
    for number in range(1, count + 1):
        replay(scheduler, Answered(0, f"f-{number}"), Ready(0, f"f-{number}"))
    return scheduler


def phases(scheduler: Scheduler) -> dict[str, str]:
    return {environment.id: environment.phase.value for environment in scheduler.pool}


def test_a_request_without_an_environment_is_a_cold_start() -> None:
    scheduler = fresh()
    assert scheduler.decide(Arrived(0, "r")) == [StartEnvironment("f-1", "a", 1), Want(1, {"a": 1})]
    assert replay(scheduler, Ready(0.4, "f-1")) == [
        Initialised("f-1", 0.4, False),
        VersionState(1, "ready"),
        Dispatch("f-1", "r", 1, 3.4),
    ]


def test_an_idle_environment_is_used_again() -> None:
    assert replay(warm(), Arrived(5, "r")) == [Dispatch("f-1", "r", 1, 8.0)]


def test_the_environment_used_last_is_used_first() -> None:
    scheduler = warm(2)
    replay(scheduler, Arrived(1, "r"), Answered(2, "f-2"), Ready(2, "f-2"))
    assert replay(scheduler, Arrived(3, "s")) == [Dispatch("f-2", "s", 1, 6.0)]


def test_one_that_has_answered_is_waited_for() -> None:
    """It asks for the next request within a round trip; a cold start instead would be an artefact of ours."""
    scheduler = warm(concurrency=2)
    replay(scheduler, Arrived(1, "r"), Answered(2, "f-1"))
    assert replay(scheduler, Arrived(2, "s")) == []
    assert replay(scheduler, Ready(2, "f-1")) == [Dispatch("f-1", "s", 1, 5.0)]


def test_environments_are_spread_over_zones() -> None:
    started = [replay(scheduler, Arrived(0, r)) for scheduler in [fresh()] for r in "xyz"]
    assert [action.zone for (action,) in started if isinstance(action, StartEnvironment)] == ["a", "b", "c"]


def test_the_request_over_the_limit_is_throttled_whether_others_wait_or_run() -> None:
    scheduler = fresh()
    replay(scheduler, *[Arrived(0, r) for r in "xyz"], Ready(1, "f-1"))
    assert replay(scheduler, Arrived(1, "r")) == [Refuse("r", Refusal.THROTTLED)]
    replay(scheduler, Answered(2, "f-1"))
    assert scheduler.in_flight == 2
    assert replay(scheduler, Arrived(2, "r")) == []


def test_only_so_many_start_at_once() -> None:
    scheduler = fresh(starts_at_once=1)
    replay(scheduler, Arrived(0, "x"))
    assert replay(scheduler, Arrived(0, "y"), Arrived(0, "z")) == []
    assert StartEnvironment("f-2", "b", 1) in replay(scheduler, Ready(1, "f-1"))


def test_a_waiting_request_takes_whichever_is_free_first() -> None:
    scheduler = warm(concurrency=2)
    replay(scheduler, Arrived(1, "x"), Arrived(1, "y"), Answered(1.1, "f-1"))
    assert replay(scheduler, Ready(1.1, "f-1")) == [Dispatch("f-1", "y", 1, 4.1)]
    assert replay(scheduler, Ready(2, "f-2")) == [Initialised("f-2", 1, False)]
    assert phases(scheduler) == {"f-1": "busy", "f-2": "idle"}


def test_a_function_over_its_timeout_is_killed() -> None:
    scheduler = warm()
    replay(scheduler, Arrived(1, "r"))
    assert replay(scheduler, Tick(3.9)) == []
    assert replay(scheduler, Tick(4)) == [Refuse("r", Refusal.TIMED_OUT), Retire("f-1", "timeout", now=True)]
    assert replay(scheduler, Exited(4.1, "f-1", "killed")) == [Forget("f-1")]


def test_one_that_answers_and_never_asks_again_is_killed_too() -> None:
    scheduler = warm()
    replay(scheduler, Arrived(1, "r"), Answered(2, "f-1"))
    assert replay(scheduler, Tick(4)) == [Retire("f-1", "timeout", now=True)]


def test_slow_initialisation_is_charged_to_the_timeout_after_its_free_time() -> None:
    scheduler = fresh()
    replay(scheduler, Arrived(0, "r"))
    assert replay(scheduler, Tick(12.9)) == []
    assert replay(scheduler, Tick(13)) == [
        VersionState(1, "failed", "did not initialise in time"),
        Refuse("r", Refusal.INIT_FAILED),
        Retire("f-1", "timeout", now=True),
    ]


def test_the_integration_times_out_while_the_function_runs_on() -> None:
    scheduler = warm(timeout_s=60.0)
    replay(scheduler, Arrived(1, "r"))
    assert replay(scheduler, Tick(30)) == [Refuse("r", Refusal.INTEGRATION_TIMEOUT)]
    assert (phases(scheduler), scheduler.in_flight) == ({"f-1": "busy"}, 1)
    assert replay(scheduler, Tick(31), Answered(40, "f-1"), Ready(40, "f-1")) == []
    assert phases(scheduler) == {"f-1": "idle"}


def test_the_integration_times_out_while_the_request_waits() -> None:
    scheduler = fresh(init_timeout_s=60.0)
    replay(scheduler, Arrived(0, "r"))
    assert replay(scheduler, Tick(29)) == [Refuse("r", Refusal.INTEGRATION_TIMEOUT)]


def test_without_an_integration_nothing_but_the_function_times_out() -> None:
    scheduler = warm(integration_timeout_s=None, timeout_s=900.0)
    replay(scheduler, Arrived(1, "r"))
    assert replay(scheduler, Tick(800)) == []


def test_an_environment_that_dies_takes_its_request_with_it() -> None:
    scheduler = warm()
    replay(scheduler, Arrived(1, "r"))
    assert replay(scheduler, Exited(2, "f-1", "exit 9")) == [Refuse("r", Refusal.CRASHED), Forget("f-1")]
    assert replay(scheduler, Arrived(3, "s")) == [StartEnvironment("f-2", "a", 1)]


def test_one_that_dies_after_its_answer_is_replaced_for_who_waits() -> None:
    scheduler = warm(concurrency=1)
    replay(scheduler, Arrived(1, "r"), Answered(2, "f-1"), Arrived(2, "s"))
    assert replay(scheduler, Exited(2, "f-1", "exit 9")) == [Forget("f-1"), StartEnvironment("f-2", "a", 1)]


def test_an_idle_one_that_dies_is_not_given_a_request() -> None:
    scheduler = warm()
    replay(scheduler, Exited(1, "f-1", "oom"))
    assert replay(scheduler, Arrived(2, "r")) == [StartEnvironment("f-2", "a", 1)]


def test_each_failed_start_costs_one_request_and_another_is_tried_for_the_next() -> None:
    scheduler = fresh()
    replay(scheduler, Arrived(0, "x"), Arrived(0, "y"))
    assert replay(scheduler, InitFailed(1, "f-1", "E: no")) == [
        VersionState(1, "failed", "E: no"),
        Refuse("x", Refusal.INIT_FAILED),
        Retire("f-1", "init"),
    ]
    assert replay(scheduler, Exited(1, "f-1", "exit 1")) == [Forget("f-1")]
    assert replay(scheduler, Exited(1, "f-2", "exit 1")) == [Refuse("y", Refusal.INIT_FAILED), Forget("f-2")]
    assert replay(scheduler, Arrived(2, "z")) == [StartEnvironment("f-3", "a", 1)]


def test_idle_environments_retire_down_to_the_provisioned_ones() -> None:
    scheduler = warm(3, provisioned=1)
    assert replay(scheduler, Tick(59)) == []
    assert replay(scheduler, Tick(60)) == [Retire("f-1", "idle"), Retire("f-2", "idle")]
    assert phases(scheduler) == {"f-1": "leaving", "f-2": "leaving", "f-3": "idle"}


def test_provisioned_environments_start_before_anybody_asks() -> None:
    scheduler = fresh(provisioned=2)
    started = replay(scheduler, Tick(0))
    assert started == [StartEnvironment("f-1", "a", 1, True), StartEnvironment("f-2", "b", 1, True)]
    assert replay(scheduler, Ready(1, "f-1"))[0] == Initialised("f-1", 1, True)


def test_a_provisioned_one_that_fails_is_tried_again_ever_more_slowly() -> None:
    scheduler = fresh(provisioned=1)
    tries = []
    for now in range(120):
        for action in replay(scheduler, Tick(now)):
            if isinstance(action, StartEnvironment):
                tries.append(now)
                replay(scheduler, Exited(now, action.environment, "exit 1"))
    assert tries == [0, 1, 3, 7, 15, 31, 61, 91]


def test_a_lost_zone_loses_its_environments_and_gets_no_more_until_it_is_back() -> None:
    scheduler = warm(2)
    replay(scheduler, Arrived(1, "r"), Arrived(1, "s"))
    assert replay(scheduler, ZoneChanged(2, "a", True)) == [
        Refuse("s", Refusal.CRASHED),
        Retire("f-1", "zone", now=True),
    ]
    assert replay(scheduler, Arrived(2, "t")) == [StartEnvironment("f-3", "c", 1)]
    replay(scheduler, ZoneChanged(3, "b", True), ZoneChanged(3, "c", True))
    assert replay(scheduler, Arrived(3, "u")) == []
    assert replay(scheduler, ZoneChanged(4, "a", False)) == [
        StartEnvironment("f-4", "a", 1),
        StartEnvironment("f-5", "a", 1),
    ]


def test_a_shift_retires_the_old_when_it_has_finished_and_says_when_it_is_through() -> None:
    scheduler = warm(2)
    replay(scheduler, Arrived(1, "r"))
    assert replay(scheduler, Shift(2, 2)) == [Retire("f-1", "version")]
    assert replay(scheduler, Arrived(2, "s")) == [StartEnvironment("f-3", "a", 2)]
    assert replay(scheduler, Answered(3, "f-2"), Ready(3, "f-2")) == [Retire("f-2", "version")]
    assert replay(scheduler, Exited(3, "f-1", ""), Exited(3, "f-2", "")) == [
        Forget("f-1"),
        Forget("f-2"),
        VersionState(2, "settled"),
    ]


def test_a_probe_takes_no_traffic_before_the_shift() -> None:
    scheduler = warm()
    assert replay(scheduler, Probe(1, 2)) == [StartEnvironment("f-2", "b", 2)]
    assert replay(scheduler, Ready(2, "f-2")) == [Initialised("f-2", 1, False), VersionState(2, "ready")]
    assert replay(scheduler, Arrived(3, "r")) == [Dispatch("f-1", "r", 1, 6)]
    assert replay(scheduler, Shift(4, 2)) == [VersionState(2, "ready")]
    assert replay(scheduler, Arrived(4, "s")) == [Dispatch("f-2", "s", 2, 7)]


def test_a_failed_probe_leaves_the_old_version_alone() -> None:
    scheduler = warm()
    replay(scheduler, Probe(1, 2))
    assert replay(scheduler, InitFailed(2, "f-2", "E: no")) == [
        VersionState(2, "failed", "E: no"),
        Retire("f-2", "init"),
    ]
    assert replay(scheduler, Arrived(3, "r")) == [Dispatch("f-1", "r", 1, 6)]


def test_a_rollback_is_a_shift_to_the_old_version_and_is_reported_like_one() -> None:
    scheduler = fresh()
    replay(scheduler, Shift(0, 2), Arrived(1, "r"), InitFailed(2, "f-1", "E: no"), Exited(2, "f-1", ""))
    assert replay(scheduler, Shift(3, 1)) == [VersionState(1, "settled")]
    assert replay(scheduler, Arrived(4, "s")) == [StartEnvironment("f-2", "a", 1)]
    assert VersionState(1, "ready") in replay(scheduler, Ready(5, "f-2"))


def test_an_abandoned_request_is_not_run_but_a_running_one_is_not_stopped() -> None:
    scheduler = fresh()
    replay(scheduler, Arrived(0, "r"), Abandoned(1, "r"))
    assert replay(scheduler, Ready(2, "f-1")) == [Initialised("f-1", 2, False), VersionState(1, "ready")]
    replay(scheduler, Arrived(3, "s"))
    assert replay(scheduler, Abandoned(3, "s")) == []
    assert phases(scheduler) == {"f-1": "busy"}


def test_limits_change_while_it_runs() -> None:
    scheduler = warm()
    replay(scheduler, Arrived(1, "r"), Limits(2, concurrency=1))
    assert replay(scheduler, Arrived(2, "s")) == [Refuse("s", Refusal.THROTTLED)]
    assert replay(scheduler, Limits(3, concurrency=3, provisioned=2)) == [
        StartEnvironment("f-2", "b", 1, True)
    ]


@pytest.mark.parametrize(
    "message", [Ready(1, "f-9"), Answered(1, "f-9"), InitFailed(1, "f-9", ""), Exited(1, "f-9", "")]
)
def test_news_of_the_unknown_changes_nothing(message: Message) -> None:
    scheduler = warm()
    assert scheduler.decide(message) == []
    assert phases(scheduler) == {"f-1": "idle"}


class Life(RuleBasedStateMachine):
    """Any order of events, told late or twice: each request is answered once, and no environment runs two."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = fresh(provisioned=1, idle_s=5.0)
        self.now = 0.0
        self.requests = 0
        self.open: set[str] = set()
        self.running: dict[str, str | None] = {}
        self.alive: set[str] = set()

    def tell(self, message: Message) -> None:
        for action in self.scheduler.decide(message):
            match action:
                case StartEnvironment(environment):
                    self.alive.add(environment)
                case Dispatch(environment, request):
                    assert request in self.open
                    assert self.running.get(environment) is None
                    assert environment in self.alive
                    self.running[environment] = request
                case Refuse(request):
                    self.open.remove(request)
                case Forget(environment):
                    self.running.pop(environment, None)
                    self.alive.discard(environment)

    @rule(count=st.integers(1, 3))
    def arrive(self, count: int) -> None:
        for _ in range(count):
            self.requests += 1
            self.open.add(f"r{self.requests}")
            self.tell(Arrived(self.now, f"r{self.requests}"))

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tell(Tick(self.now))

    @rule(data=st.data())
    def environment_acts(self, data: st.DataObject) -> None:
        if not self.alive:
            return
        name = data.draw(st.sampled_from(sorted(self.alive)))
        doing = data.draw(st.sampled_from(["ask", "ask", "answer", "answer", "die", "fail"]))
        if doing == "ask" and self.running.get(name) is None:
            self.tell(Ready(self.now, name))
        elif doing == "answer" and (request := self.running.get(name)):
            self.running[name] = None
            self.open.discard(request)
            self.tell(Answered(self.now, name))
        elif doing == "die":
            self.tell(Exited(self.now, name, "exit 1"))
        elif doing == "fail":
            self.tell(InitFailed(self.now, name, "E: no"))

    @rule(zone=st.sampled_from("abc"), lost=st.booleans())
    def zone(self, zone: str, lost: bool) -> None:
        self.tell(ZoneChanged(self.now, zone, lost))

    @rule(version=st.integers(1, 3), probe=st.booleans())
    def deploy(self, version: int, probe: bool) -> None:
        self.tell(Probe(self.now, version) if probe else Shift(self.now, version))

    @invariant()
    def counts_agree(self) -> None:
        pool = self.scheduler.pool
        assert self.scheduler.in_flight <= FUNCTION.concurrency
        assert pool.busy == sum(e.phase is Phase.BUSY for e in pool)
        for version in (1, 2, 3):
            assert pool.count(version, *Phase) == sum(e.version == version for e in pool)

    @invariant()
    def every_open_request_is_known(self) -> None:
        running = {e.request for e in self.scheduler.pool if e.request}
        assert self.open == running | set(self.scheduler.waiting)

    @invariant()
    def a_waiting_request_has_something_to_wait_for(self) -> None:
        scheduler = self.scheduler
        usable = set(FUNCTION.zones) - scheduler.lost
        if scheduler.waiting and usable:
            assert scheduler.pool.count(scheduler.version, Phase.STARTING, Phase.BUSY, Phase.ANSWERED)


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase
