"""What the commands print about a running system: logs, events, milestones. The system itself is played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import EnvironmentProblem, InputError
from holdfast.running import follow, logs
from holdfast.running.start import ready_text

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose run has left two logs."""
    (tmp_path / "holdfast.toml").write_text('[service]\nname = "orders"\ncommand = ["sh", "{port}"]\n')
    folder = tmp_path / ".holdfast" / "run" / "logs"
    folder.mkdir(parents=True)
    (folder / "eu-west-1a_ecs-1.log").write_text("one\ntwo\nthree\n")
    (folder / "eu-west-1b_ecs-11.log").write_bytes(b"caf\xe9\nno newline yet")
    return tmp_path


def test_lines_of_several_logs_say_whose_they_are(project: Path, capsys: Capture) -> None:
    logs.show_logs(project, None, follow=False, last=2)
    assert capsys.readouterr().out.splitlines() == [
        "eu-west-1a_ecs-1 | two",
        "eu-west-1a_ecs-1 | three",
        "eu-west-1b_ecs-11 | caf\N{REPLACEMENT CHARACTER}",
        "eu-west-1b_ecs-11 | no newline yet",
    ]


@pytest.mark.parametrize("name", ["eu-west-1a/ecs-1", "ecs-1", "eu-west-1a_ecs-1"])
def test_one_log_is_found_by_its_nodes_name_and_stands_alone(
    project: Path, capsys: Capture, name: str
) -> None:
    logs.show_logs(project, name, follow=False, last=1)
    assert capsys.readouterr().out == "three\n"


def test_a_name_without_a_log_is_answered_with_those_there_are(project: Path) -> None:
    with pytest.raises(InputError) as got:
        logs.show_logs(project, "ecs-7", follow=False, last=1)
    assert "no log of ecs-7" in got.value.message
    assert got.value.hint == "there are: eu-west-1a_ecs-1, eu-west-1b_ecs-11"


def test_a_run_without_any_log_yet_says_so(project: Path) -> None:
    for path in (project / ".holdfast" / "run" / "logs").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no logs yet"):
        logs.show_logs(project, None, follow=False, last=1)


def test_before_the_first_start_there_are_no_logs(tmp_path: Path, project: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "holdfast.toml").write_text((project / "holdfast.toml").read_text())
    with pytest.raises(EnvironmentProblem, match="no logs"):
        logs.show_logs(tmp_path / "other", None, follow=False, last=1)


class Enough(Exception):
    """Ends a loop that goes on until Ctrl-C."""


def test_following_shows_whole_new_lines_with_their_log(
    project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project / ".holdfast" / "run" / "logs"
    steps = [("eu-west-1b_ecs-11.log", b"... and on\nhalf"), ("eu-west-1c_ecs-3.log", b"a new replica\n")]

    def sleep(_: float) -> None:
        if not steps:
            raise Enough
        name, text = steps.pop(0)
        with (folder / name).open("ab") as file:
            file.write(text)

    monkeypatch.setattr(logs.time, "sleep", sleep)
    with pytest.raises(Enough):
        logs.show_logs(project, None, follow=True, last=0)
    assert capsys.readouterr().out.splitlines() == [
        "eu-west-1b_ecs-11 | ... and on",
        "eu-west-1c_ecs-3 | a new replica",
    ]


@pytest.mark.parametrize(
    ("subject", "message", "text"),
    [
        ("eu-west-1a/ecs-1", "eu-west-1a/ecs-1 died", "eu-west-1a/ecs-1 died"),
        ("ecs.eu-west-1", "3 to 6 replicas", "ecs.eu-west-1: 3 to 6 replicas"),
        ("system", "every region serves", "every region serves"),
    ],
)
def test_an_event_names_its_subject_once(subject: str, message: str, text: str) -> None:
    line = logs.event_line({"t": 0.0, "subject": subject, "message": message})
    assert line[2] == line[5] == ":"
    assert line[8:] == f"  {text}"


class Played:
    """A running system's answers, in order; ``asked`` are the calls."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str) -> dict[str, Any]:
        return self.post(path)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        self.asked.append((path, body))
        return self._answers.pop(0)


def fault_row(**measured: float) -> dict[str, Any]:
    expected = [
        {"name": "out_of_balancer", "lower_s": 0.0, "upper_s": 1.0, "because": "the scheduler"},
        {"name": "replaced", "lower_s": 2.85, "upper_s": None, "because": "a launch"},
    ]
    row = {"id": "f1", "kind": "node", "target": "eu-west-1a/ecs-1", "expected": expected}
    return {**row, "measured": measured, "complete": len(measured) == 2}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow.time, "sleep", lambda _: None)


@pytest.mark.usefixtures("patient")
def test_each_milestone_is_said_once_with_what_was_expected(capsys: Capture) -> None:
    done = fault_row(out_of_balancer=0.31, replaced=4.0)
    client: Any = Played(fault_row(), fault_row(out_of_balancer=0.31), fault_row(out_of_balancer=0.31), done)
    assert follow.fault(client, "kill", "ecs-1", wait=True, quiet=False) == done
    assert capsys.readouterr().out.splitlines() == [
        "kill node eu-west-1a/ecs-1",
        "  out_of_balancer  measured    0.3 s   expected 0.0..1.0 s   the scheduler",
        "  replaced         measured    4.0 s   expected 2.9..? s   a launch",
    ]
    assert client.asked[:2] == [("actions/kill", {"target": "ecs-1"}), ("faults/f1", {})]


def test_who_does_not_wait_is_told_what_was_not_seen(capsys: Capture) -> None:
    client: Any = Played(fault_row())
    follow.fault(client, "kill", "ecs-1", wait=False, quiet=False)
    assert capsys.readouterr().out.count("measured not seen") == 2


@pytest.mark.usefixtures("patient")
def test_for_machines_nothing_is_said_on_the_way(capsys: Capture) -> None:
    client: Any = Played(fault_row(), fault_row(out_of_balancer=1, replaced=2))
    follow.fault(client, "kill", "ecs-1", wait=True, quiet=True)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("patient")
def test_a_deployment_is_followed_to_its_end(capsys: Capture) -> None:
    event = {"t": 0.0, "kind": "deployed", "subject": "system", "message": "release 2 serves"}
    process = {**event, "kind": "process", "message": "a process started"}
    client: Any = Played(
        {"release": 2, "outcome": "in progress"},
        {"release": 2, "outcome": "in progress"},
        {"last": 7, "events": [{**event, "message": "from before"}]},
        {"release": 2, "outcome": "done"},
        {"last": 9, "events": [process, event]},
    )
    assert follow.reload(client, wait=True, quiet=False)["outcome"] == "done"
    first, last = capsys.readouterr().out.splitlines()
    assert first.endswith("release 2 serves")
    assert last == "release 2: done"


def test_what_up_says_once_it_serves() -> None:
    urls = {
        "dns": "127.0.0.1:8053",
        "api_name": "orders.test",
        "gateways": {"eu-west-1": "http://127.64.1.1:9/"},
    }
    answer = {"ready_s": 1.26, "memory_mb": 200.4, "speed": 20.0, "urls": urls, "ca": "/ca.pem"}
    text = ready_text(answer)
    assert text.startswith("ready in 1.3 s, 200 MB\nspeed 20: ")
    assert "http://127.64.1.1:9/   eu-west-1" in text
    assert "edge " not in text
    json.dumps(answer)
