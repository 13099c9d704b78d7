"""The control surface and its client over a real unix socket; only the running system behind it is played."""

from __future__ import annotations

import asyncio
import json
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import AnswerNo, EnvironmentProblem, HoldfastError, InputError, Problem
from holdfast.local import control
from holdfast.local.client import Client
from holdfast.local.events import EventLog
from holdfast.model import Event

TOKEN = "the-token-of-this-run"


@dataclass
class Played:
    """A system that notes what it is asked and raises what a test wants."""

    log: EventLog
    raises: HoldfastError | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def _note(self, *what: Any) -> dict[str, Any]:
        self.asked.append(what)
        if self.raises:
            raise self.raises
        return {"asked": list(what)}

    def status(self) -> Mapping[str, Any]:
        return self._note("status")

    async def act(self, operation: str, target: str) -> Mapping[str, Any]:
        return self._note(operation, target)

    async def scale(self, desired: int, region: str | None) -> Mapping[str, Any]:
        return self._note("scale", desired, region)

    async def reload(self) -> Mapping[str, Any]:
        return self._note("reload")

    def deployment(self) -> Mapping[str, Any]:
        return self._note("deployment")

    def fault(self, fault_id: str) -> Mapping[str, Any]:
        return self._note("fault", fault_id)

    async def events(self, after: int, wait_s: float) -> tuple[int, list[Event]]:
        rows = await self.log.wait(after, wait_s) if wait_s else self.log.after(after)
        return self.log.last, [row.event for row in rows]

    def request_stop(self) -> None:
        self.stopped.set()


@dataclass
class Surface:
    """A served control surface on a loop of its own, as the client runs in another process."""

    played: Played
    socket: Path
    loop: asyncio.AbstractEventLoop

    def client(self, token: str = TOKEN) -> Client:
        return Client(str(self.socket), token)

    def happens(self, message: str) -> None:
        event = Event(1.5, "note", "eu-west-1a", message, {"n": 1})
        self.loop.call_soon_threadsafe(self.played.log.append, event)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def surface(tmp_path: Path, loop: asyncio.AbstractEventLoop) -> Iterator[Surface]:
    with tempfile.TemporaryDirectory() as short:  # a unix socket's path has 107 characters at most
        socket = Path(short, "control.sock")

        async def serve() -> tuple[Played, Any]:
            played = Played(EventLog(tmp_path / "events.jsonl"))
            return played, await control.serve(played, str(socket), TOKEN)

        played, runner = asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
        yield Surface(played, socket, loop)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        played.log.close()


def test_every_call_reaches_the_system_with_its_arguments(surface: Surface) -> None:
    client = surface.client()
    client.get("status")
    client.get("deployment")
    client.get("faults/f7")
    client.post("reload")
    client.post("scale", desired=6, region=None)
    client.post("scale", desired=4, region="eu-west-1")
    for operation in control.ACTIONS:
        assert client.post(f"actions/{operation}", target="x")["asked"] == [operation, "x"]
    assert surface.played.asked[:6] == [
        ("status",),
        ("deployment",),
        ("fault", "f7"),
        ("reload",),
        ("scale", 6, None),
        ("scale", 4, "eu-west-1"),
    ]


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", "ü"])
def test_without_the_token_nothing_is_done(surface: Surface, token: str) -> None:
    for path in ("down", "reload"):
        with pytest.raises(HoldfastError, match="token of this run is missing or wrong"):
            surface.client(token).post(path)
    assert not surface.played.asked
    assert not surface.played.stopped.is_set()


def test_only_the_owner_may_open_the_socket(surface: Surface) -> None:
    assert stat.S_IMODE(surface.socket.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "error",
    [
        AnswerNo("rolled back", hint="the version before serves"),
        EnvironmentProblem("the disk is full", hint="make room"),
        EnvironmentProblem("no hint"),
        InputError((Problem("one"), Problem("two", hint="so"))),
        InputError((Problem("one"),), hint="try this"),
    ],
)
def test_an_error_travels_with_its_kind_its_hint_and_all_problems(
    surface: Surface, error: HoldfastError
) -> None:
    surface.played.raises = error
    with pytest.raises(type(error)) as got:
        surface.client().post("scale", desired=1)
    assert (got.value.message, got.value.hint) == (error.message, error.hint)
    assert got.value.exit_code == error.exit_code
    if isinstance(error, InputError):
        assert isinstance(got.value, InputError)
        assert [str(p) for p in got.value.problems] == [str(p) for p in error.problems]


def test_an_operation_that_does_not_exist_is_refused(surface: Surface) -> None:
    with pytest.raises(HoldfastError, match="no such operation: melt"):
        surface.client().post("actions/melt", target="x")
    assert not surface.played.asked


def test_events_come_after_a_number(surface: Surface) -> None:
    client = surface.client()
    for message in ("one", "two", "three"):
        surface.happens(message)
    assert client.get("events?after=0&wait=5")["last"] in (1, 2, 3)
    answer = client.get("events?after=2&wait=5")
    assert answer["last"] == 3
    assert answer["events"] == [
        {"t": 1.5, "kind": "note", "subject": "eu-west-1a", "message": "three", "data": {"n": 1}}
    ]
    assert client.get("events?after=3") == {"last": 3, "events": []}


def test_a_question_for_events_waits_for_the_next_one(surface: Surface) -> None:
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(surface.client().get("events?after=0&wait=20")))
    asking.start()
    surface.happens("at last")
    asking.join(10)
    assert [row["message"] for row in answers[0]["events"]] == ["at last"]


def test_down_answers_first_and_stops_then(surface: Surface) -> None:
    assert surface.client().post("down") == {"stopping": True}
    assert surface.played.stopped.wait(5)


def test_a_system_that_is_gone_is_an_environment_problem_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem) as got:
        Client(str(tmp_path / "nobody.sock"), TOKEN).get("status")
    assert "does not answer" in got.value.message
    assert "holdfast up" in (got.value.hint or "")


def test_answers_are_one_json_object(surface: Surface) -> None:
    assert json.dumps(surface.client().get("status")) == '{"asked": ["status"]}'
