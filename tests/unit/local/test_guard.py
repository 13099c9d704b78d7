"""The guard's reading of its line and of the process table; its killing is a live test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.local import guard


def groups_after(*chunks: bytes) -> set[int]:
    read, write = os.pipe()
    try:
        for chunk in chunks:
            os.write(write, chunk)
        os.close(write)
        return guard.read_groups(read)
    finally:
        os.close(read)


@pytest.mark.parametrize(
    ("chunks", "groups"),
    [
        ((), set()),
        ((b"+12\n+34\n",), {12, 34}),
        ((b"+12\n-12\n+34\n",), {34}),
        ((b"-99\n",), set()),
        ((b"+12\n+3",), {12}),
    ],
)
def test_groups_that_are_left_at_the_end_of_the_line(chunks: tuple[bytes, ...], groups: set[int]) -> None:
    assert groups_after(*chunks) == groups


def test_a_line_may_arrive_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = iter([b"+1", b"2\n+345", b"\n-1", b"2\n", b""])
    monkeypatch.setattr(os, "read", lambda source, size: next(pieces))
    assert guard.read_groups(0) == {345}


def test_only_the_exact_run_is_found(tmp_path: Path) -> None:
    environments = {
        "10": b"PATH=/bin\0HOLDFAST_RUN=abc-1\0",
        "11": b"HOLDFAST_RUN=abc-12\0",
        "12": b"X_HOLDFAST_RUN=abc-1\0",
        "13": b"",
        "self": b"HOLDFAST_RUN=abc-1\0",
    }
    for pid, content in environments.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "environ").write_bytes(content)
    (tmp_path / "14").mkdir()
    assert guard.tagged("abc-1", str(tmp_path)) == [10]


def test_a_system_without_proc_has_no_tagged_processes(tmp_path: Path) -> None:
    assert guard.tagged("abc-1", str(tmp_path / "proc")) == []


def test_a_group_that_is_gone_is_no_error() -> None:
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""], start_new_session=True)
    child.wait()
    guard.kill_group(child.pid)


def test_the_guard_runs_without_the_package_and_ends_with_its_line() -> None:
    command = [sys.executable, "-I", "-S", guard.__file__, "no-such-run"]
    assert subprocess.run(command, input=b"", env={}, timeout=20, check=False).returncode == 0
