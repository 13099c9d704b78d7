"""The worker's options, its uvicorn configuration, and how it refuses to start."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.local.serve import Options, config, main


@pytest.fixture(autouse=True)
def _signals_and_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A worker owns its process; a test must get its signal handlers and import path back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def app(scope: object, receive: object, send: object) -> None: ...


def test_timeouts_are_whole_seconds_and_never_shorter() -> None:
    made = config(app, Options("m:app", "127.0.0.1", 0, graceful_s=2.1, keep_alive_s=60.5))
    assert (made.timeout_graceful_shutdown, made.timeout_keep_alive) == (3, 61)


def test_balancers_on_any_loopback_address_are_believed() -> None:
    made = config(app, Options("m:app", "127.1.2.3", 0))
    assert (made.proxy_headers, made.forwarded_allow_ips) == (True, "127.0.0.0/8")


def serve(app_target: str) -> int:
    return main(["--app", app_target, "--port", "0"])


def test_a_missing_module_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve("no_such_module:app") == 3
    error = capsys.readouterr().err
    assert error.startswith('holdfast: cannot serve no_such_module:app: there is no module "no_such_module"')
    assert error.count("\n") == 1


def test_a_missing_attribute_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "has_no_such_name.py").write_text("async def application(scope, receive, send): ...\n")
    assert serve("has_no_such_name:aplication") == 3
    error = capsys.readouterr().err
    assert 'did you mean "application"?' in error
    assert error.count("\n") == 1


def test_the_users_own_error_shows_only_the_users_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "breaks_on_import.py").write_text("def connect():\n    raise OSError('no disk')\nconnect()\n")
    assert serve("breaks_on_import:app") == 3
    error = capsys.readouterr().err
    assert "breaks_on_import.py" in error
    assert "OSError: no disk" in error
    assert "importlib" not in error
    assert "application.py" not in error


def test_a_syntax_error_shows_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "does_not_parse.py").write_text("def app(:\n")
    assert serve("does_not_parse:app") == 3
    error = capsys.readouterr().err
    assert "does_not_parse.py" in error
    assert "SyntaxError" in error
    assert "importlib" not in error
