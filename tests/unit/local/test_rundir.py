"""The run folder: one system at a time, files that survive, and a disk that is full."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from holdfast.errors import EnvironmentProblem
from holdfast.local import disk, rundir, stale
from holdfast.local.guard import TAG
from holdfast.local.rundir import RunDir

HOLD = "import os, signal, sys; os.write(1, b'up'); signal.pause()"


@pytest.fixture(autouse=True)
def _short_sockets(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("xdg")))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDir]:
    created = RunDir.create(tmp_path)
    yield created
    created.close()


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that a test has started; ended after it."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def hold(started: list[subprocess.Popen[bytes]], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that waits for ever, in a session of its own; returns once it has its environment."""
    command = [sys.executable, "-I", "-S", "-c", HOLD]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, start_new_session=True)
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.read(2) == b"up"
    return process


def test_a_client_finds_the_running_system(run: RunDir, tmp_path: Path) -> None:
    run.publish({"api": "http://127.0.0.1:8080"})
    found = rundir.read(tmp_path)
    assert found == run.info
    assert found is not None
    assert (found.pid, found.urls["api"]) == (os.getpid(), "http://127.0.0.1:8080")


def test_nothing_runs_before_and_after(tmp_path: Path) -> None:
    assert rundir.read(tmp_path) is None
    run = RunDir.create(tmp_path)
    assert rundir.is_running(tmp_path)
    run.close()
    run.close()
    assert rundir.read(tmp_path) is None
    assert not rundir.is_running(tmp_path)
    assert not Path(run.info.sockets).exists()
    assert run.logs.is_dir()


def test_only_the_owner_can_look_in(run: RunDir) -> None:
    for folder in (run.root, run.logs, run.config, Path(run.info.sockets), Path(run.info.sockets).parent):
        assert folder.stat().st_mode & 0o077 == 0, folder


def test_the_folder_keeps_itself_out_of_git(run: RunDir) -> None:
    assert (run.root.parent / ".gitignore").read_text(encoding="ascii") == "*\n"


def test_a_second_system_is_refused_with_the_pid_of_the_first(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=rf"already running \(pid {os.getpid()}\)") as refused:
        RunDir.create(tmp_path)
    assert "holdfast down" in (refused.value.hint or "")
    assert rundir.read(tmp_path) == run.info


def test_a_client_that_looks_does_not_stop_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunDir.create(tmp_path).close()
    looking = os.open(tmp_path / ".holdfast/run/lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda pause_s: os.close(looking))
    RunDir.create(tmp_path).close()


def test_the_logs_of_one_earlier_run_are_kept(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        run = RunDir.create(tmp_path)
        assert list(run.logs.iterdir()) == []
        (run.logs / "app.log").write_text(str(number), encoding="ascii")
        (run.config / "nginx.conf").write_text(str(number), encoding="ascii")
        run.close()
    assert (tmp_path / ".holdfast/run/logs.previous/app.log").read_text(encoding="ascii") == "2"
    run = RunDir.create(tmp_path)
    assert list(run.config.iterdir()) == []
    run.close()


def test_run_ids_differ_and_begin_with_the_project(tmp_path: Path) -> None:
    first = RunDir.create(tmp_path)
    first.close()
    second = RunDir.create(tmp_path)
    second.close()
    assert first.info.run_id != second.info.run_id
    assert first.info.run_id[:9] == second.info.run_id[:9] == f"{rundir.project_id(tmp_path)}-"


def test_a_socket_path_that_is_too_long_is_refused(run: RunDir) -> None:
    assert run.socket("control").parent == Path(run.info.sockets)
    with pytest.raises(EnvironmentProblem, match="too long"):
        run.socket("x" * rundir.LONGEST_SOCKET_BYTES)


def test_a_socket_folder_that_somebody_else_prepared_is_refused(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, trap = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("trap")
    (shared / f"holdfast-{os.getuid()}").symlink_to(trap)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(shared))
    with pytest.raises(EnvironmentProblem, match="only you can open"):
        RunDir.create(tmp_path)
    assert not rundir.is_running(tmp_path)


def test_a_damaged_run_file_of_a_dead_run_is_no_obstacle(tmp_path: Path) -> None:
    RunDir.create(tmp_path).close()
    (tmp_path / ".holdfast/run/run.json").write_text('{"pid": ', encoding="ascii")
    RunDir.create(tmp_path).close()


def test_a_full_disk_names_the_path_and_the_free_space(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EnvironmentProblem, match=r"disk is full.*run\.json \([0-9.]+ MiB free\)") as refused:
        run.publish({"api": "http://127.0.0.1:1"})
    assert "make room" in (refused.value.hint or "")
    assert json.loads((run.root / "run.json").read_text(encoding="utf-8"))["urls"] == {}
    assert not list(run.root.glob(".run.json*"))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_closed_disk_says_so(code: int, tmp_path: Path) -> None:
    assert "may not write" in str(disk.problem(OSError(code, os.strerror(code)), tmp_path / "f"))


def test_a_failed_start_leaves_the_project_unlocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise disk.problem(OSError(errno.ENOSPC, ""), path)

    monkeypatch.setattr(disk, "write_atomic", full)
    with pytest.raises(EnvironmentProblem, match="disk is full"):
        RunDir.create(tmp_path)
    assert not rundir.is_running(tmp_path)


def test_what_carries_the_tag_of_a_dead_run_is_killed_and_nothing_else(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    mine = hold(started, {TAG: f"{rundir.project_id(tmp_path)}-dead"})
    other = hold(started, {TAG: "00000000-live"})
    plain = hold(started, {"PATH": "/bin"})
    run = RunDir.create(tmp_path)
    run.close()
    assert [leftover.pid for leftover in run.cleaned] == [mine.pid]
    assert (other.poll(), plain.poll()) == (None, None)


def test_nothing_is_cleaned_while_a_system_runs(run: RunDir, started: list[subprocess.Popen[bytes]]) -> None:
    process = hold(started, {TAG: run.info.run_id})
    assert rundir.clean_stale(Path(run.info.project)) == ()
    assert process.poll() is None


def test_a_process_without_environment_is_found_by_its_session(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    run = RunDir.create(tmp_path)
    bare = hold(started, {})
    run.journal.record(bare.pid)
    os.close(run._lock)  # as if the supervisor had been killed
    assert [leftover.pid for leftover in rundir.clean_stale(tmp_path)] == [bare.pid]
    assert rundir.clean_stale(tmp_path) == ()


@pytest.mark.parametrize("shift_s", [-100.0, 100.0])
def test_a_session_whose_number_was_given_to_somebody_else_is_left_alone(
    shift_s: float, started: list[subprocess.Popen[bytes]]
) -> None:
    bare = hold(started, {})
    created = psutil.Process(bare.pid).create_time()
    assert bare.pid not in [p.pid for p in stale.find(lambda tag: False, {bare.pid: created + shift_s})]
    assert bare.pid in [p.pid for p in stale.find(lambda tag: False, {bare.pid: created})]


def test_a_command_started_from_inside_the_dead_run_does_not_kill_itself() -> None:
    find = (
        "import os; from holdfast.local import stale; found = stale.find(lambda tag: tag == 'x-dead', {}); "
    )
    find += "print(os.getpid() in [process.pid for process in found], os.environ['HOLDFAST_RUN'])"
    env = {**os.environ, TAG: "x-dead"}
    asked = subprocess.run([sys.executable, "-c", find], env=env, capture_output=True, timeout=20, check=True)
    assert asked.stdout.split() == [b"False", b"x-dead"]


def test_the_journal_leaves_out_what_it_cannot_read(tmp_path: Path) -> None:
    journal = stale.Journal(tmp_path / "groups")
    assert journal.groups() == {}
    journal.record(os.getpid())
    with (tmp_path / "groups").open("a", encoding="ascii") as file:
        file.write("12\nx y\n34")
    assert list(journal.groups()) == [os.getpid()]
