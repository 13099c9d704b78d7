"""The lifecycle of a process, by replaying histories of messages: no process, no clock, no sleep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import HoldfastError
from holdfast.local.supervisor import lifecycle
from holdfast.local.supervisor.lifecycle import (
    BACKOFF,
    ENDED,
    EXITED,
    FATAL,
    RUNNING,
    STARTING,
    STOPPING,
    TRANSITIONS,
    Action,
    Backoff,
    Due,
    Exited,
    Kill,
    Life,
    Message,
    NotReady,
    Ready,
    Rules,
    Spawned,
    SpawnFailed,
    Start,
    Stop,
)
from holdfast.model import ProcessState

History = list[tuple[float, Message]]

PROBED = Rules(stop_s=5.0, restart=True, probed=True)
UNPROBED = Rules(stop_s=5.0, restart=True, probed=False)
ONCE = Rules(stop_s=5.0, restart=False, probed=True)

CRASH = Exited(1, "exit code 1")
KILLED = Exited(-9, "killed by signal 9 (SIGKILL)")


def replay(rules: Rules, *history: tuple[float, Message]) -> tuple[Life, list[Action]]:
    """The life after a history of messages, and everything that had to be done."""
    life = Life()
    done: list[Action] = []
    for now, message in history:
        life, actions = lifecycle.step(life, message, now, rules)
        done += actions
    return life, done


def crash_loop(rules: Rules, up_s: float, crashes: int) -> list[float]:
    """The delays between crashes of a process that is each time ready for ``up_s``."""
    now, delays = 100.0, []
    life, _ = replay(rules, (now, Start()), (now, Spawned()))
    for _ in range(crashes):
        life, _ = lifecycle.step(life, Ready(), now, rules)
        now += up_s
        life, _ = lifecycle.step(life, CRASH, now, rules)
        if life.state is FATAL:
            break
        assert life.wake_at is not None
        delays.append(round(life.wake_at - now, 6))
        now = life.wake_at
        life, actions = lifecycle.step(life, Due(), now, rules)
        assert actions == (Action.SPAWN,)
        life, _ = lifecycle.step(life, Spawned(), now, rules)
    return delays


def states(rules: Rules, history: History) -> list[ProcessState]:
    """The states a history goes through."""
    return [replay(rules, *history[: n + 1])[0].state for n in range(len(history))]


def test_a_probed_process_runs_once_its_probe_succeeds() -> None:
    assert states(PROBED, [(0, Start()), (0, Spawned()), (1, Ready())]) == [STARTING, STARTING, RUNNING]
    assert replay(PROBED, (0, Start()), (0, Spawned()))[1] == [Action.SPAWN, Action.PROBE]


def test_without_a_probe_a_process_runs_as_soon_as_it_is_spawned() -> None:
    life, done = replay(UNPROBED, (0, Start()), (0, Spawned()))
    assert (life.state, done) == (RUNNING, [Action.SPAWN])


def test_stop_asks_first_and_kills_when_the_time_is_over() -> None:
    history: History = [(0, Start()), (0, Spawned()), (1, Ready()), (10, Stop())]
    life, done = replay(PROBED, *history)
    assert (life.state, life.wake_at, done[-1]) == (STOPPING, 15.0, Action.TERMINATE)
    life, done = replay(PROBED, *history, (15, Due()))
    assert (life.state, done[-2:]) == (STOPPING, [Action.TERMINATE, Action.KILL])
    life, _ = replay(PROBED, *history, (15, Due()), (15, KILLED))
    assert (life.state, life.exit_code, life.wake_at) == (EXITED, -9, None)


def test_a_process_that_obeys_is_not_killed() -> None:
    history: History = [
        (0, Start()),
        (0, Spawned()),
        (1, Ready()),
        (10, Stop()),
        (11, Exited(0, "exit code 0")),
    ]
    life, done = replay(PROBED, *history)
    assert life.state is EXITED
    assert Action.KILL not in done


@pytest.mark.parametrize("message", [Stop(), Kill(restart=False)])
def test_a_stop_while_waiting_to_restart_cancels_the_restart(message: Message) -> None:
    life, _ = replay(PROBED, (0, Start()), (0, Spawned()), (1, CRASH), (1, message))
    assert (life.state, life.wake_at) == (EXITED, None)


def test_a_stop_while_starting_ends_it_for_good() -> None:
    history: History = [
        (0, Start()),
        (0, Spawned()),
        (1, Stop()),
        (2, Exited(-15, "killed by signal 15 (SIGTERM)")),
    ]
    assert states(PROBED, history) == [STARTING, STARTING, STOPPING, EXITED]


def test_an_unexpected_exit_restarts_after_a_delay() -> None:
    history: History = [
        (0, Start()),
        (0, Spawned()),
        (1, Ready()),
        (6, CRASH),
        (6.1, Due()),
        (6.1, Spawned()),
        (7, Ready()),
    ]
    assert states(PROBED, history)[3:] == [BACKOFF, STARTING, STARTING, RUNNING]
    life, _ = replay(PROBED, *history)
    assert (life.restarts, life.reason, life.exit_code) == (1, "", None)


def test_without_restart_an_exit_is_the_end_and_keeps_its_reason() -> None:
    life, _ = replay(ONCE, (0, Start()), (0, Spawned()), (1, Ready()), (60, CRASH))
    assert (life.state, life.exit_code, life.reason) == (EXITED, 1, "exit code 1")


def test_delays_double_up_to_the_longest() -> None:
    delays = crash_loop(PROBED, up_s=5.0, crashes=9)
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_steady_time_starts_the_delays_anew() -> None:
    assert crash_loop(PROBED, up_s=30.0, crashes=3) == [0.1, 0.1, 0.1]


def test_it_gives_up_after_five_quick_failures() -> None:
    assert crash_loop(PROBED, up_s=0.5, crashes=9) == [0.1, 0.2, 0.4, 0.8]


def test_a_longer_life_in_between_resets_the_count_of_quick_failures() -> None:
    rules = Rules(5.0, restart=True, probed=False, backoff=Backoff(give_up=2))
    life, _ = replay(
        rules, (0, Start()), (0, Spawned()), (0.5, CRASH), (1, Due()), (1, Spawned()), (4, CRASH)
    )
    assert (life.state, life.quick_failures) == (BACKOFF, 0)


def test_a_process_that_never_gets_ready_is_killed_and_counts_as_failed() -> None:
    life, done = replay(PROBED, (0, Start()), (0, Spawned()), (30, NotReady("nobody answers")))
    assert (life.state, done[-1]) == (STARTING, Action.KILL)
    late, _ = lifecycle.step(life, Ready(), 30, PROBED)
    assert late.state is STARTING
    gone, _ = lifecycle.step(life, KILLED, 30, PROBED)
    assert (gone.state, gone.quick_failures) == (BACKOFF, 1)
    assert gone.reason == "nobody answers\nkilled by signal 9 (SIGKILL)"


def test_a_drill_may_kill_as_often_as_it_likes() -> None:
    life, now = replay(UNPROBED, (0, Start()), (0, Spawned()))[0], 0.0
    for _ in range(20):
        for message in (Kill(restart=True), KILLED, Due(), Spawned()):
            life, _ = lifecycle.step(life, message, now, UNPROBED)
        now += 0.2
    assert (life.state, life.quick_failures, life.restarts) == (RUNNING, 0, 20)


def test_a_kill_for_good_is_not_followed_by_a_restart() -> None:
    life, done = replay(UNPROBED, (0, Start()), (0, Spawned()), (1, Kill(restart=False)), (1, KILLED))
    assert (life.state, done[-1]) == (EXITED, Action.KILL)


def test_a_kill_that_may_restart_respects_the_spec() -> None:
    life, _ = replay(ONCE, (0, Start()), (0, Spawned()), (1, Kill(restart=True)), (1, KILLED))
    assert life.state is EXITED


def test_a_program_that_is_not_there_is_fatal_at_once_but_not_later() -> None:
    life, _ = replay(PROBED, (0, Start()), (0, SpawnFailed("no such file")))
    assert (life.state, life.reason) == (FATAL, "no such file")
    later: History = [
        (0, Start()),
        (0, Spawned()),
        (9, CRASH),
        (10, Due()),
        (10, SpawnFailed("too many processes")),
    ]
    assert replay(PROBED, *later)[0].state is BACKOFF


@pytest.mark.parametrize("end", [EXITED, FATAL])
def test_what_has_ended_can_be_started_again_with_a_clean_slate(end: ProcessState) -> None:
    ended = Life(state=end, failures=5, quick_failures=5, restarts=4, exit_code=1, reason="exit code 1")
    life, actions = lifecycle.step(ended, Start(), 0, PROBED)
    assert (life, actions) == (Life(state=STARTING), (Action.SPAWN,))


@pytest.mark.parametrize("state", list(ProcessState))
def test_only_listed_changes_are_possible(state: ProcessState) -> None:
    for target in set(ProcessState) - TRANSITIONS[state]:
        with pytest.raises(HoldfastError, match="cannot go from"):
            lifecycle.enter(Life(state=state), target)


MESSAGES: st.SearchStrategy[Message] = st.sampled_from(
    [Start(), Spawned(), Ready(), NotReady("late"), CRASH, KILLED, Stop(), Kill(True), Kill(False), Due()]
)


@given(
    st.lists(st.tuples(st.floats(0, 40), MESSAGES), max_size=40), st.sampled_from([PROBED, UNPROBED, ONCE])
)
def test_no_history_breaks_the_rules(history: History, rules: Rules) -> None:
    life, now = Life(), 0.0
    for pause_s, message in history:
        now += pause_s
        before = life
        life, actions = lifecycle.step(life, message, now, rules)
        assert life.state is before.state or life.state in TRANSITIONS[before.state]
        assert life.state is not BACKOFF or (life.wake_at is not None and rules.restart)
        assert not (life.state in ENDED and life.wake_at is not None)
        assert (Action.SPAWN in actions) == (life.state is STARTING and before.state is not STARTING)
