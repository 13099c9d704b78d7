"""The run folder: ``<project>/.holdfast/run``, where a running system keeps its files and clients find it.

::

    .holdfast/run/  lock           held by the supervisor as long as it lives: what "running" means
                    run.json       who and where (RunInfo), replaced in one piece
                    groups         journal of process groups, to clean up after a double death
                    config/        what the processes read; empty at the start of a run
                    logs/          their output and events.jsonl; never rotated while the run lasts
                    logs.previous/ the same of the run before
    $XDG_RUNTIME_DIR/holdfast-<uid>/<project>/   unix sockets (else in /tmp), as their paths must be short
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil

from holdfast.errors import EnvironmentProblem
from holdfast.local import disk, stale

LONGEST_SOCKET_BYTES = 103
"""A unix socket's path, less the final zero: 108 bytes on Linux, 104 on macOS."""

PROJECT_FILE = "project"
"""In a run's socket folder: the path of its project, so that a command elsewhere finds the only system."""

LOCK_TRIES = 10
LOCK_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a client needs to find a system. ``started_at``: Unix time in seconds; ``urls``: by name."""

    run_id: str
    pid: int
    started_at: float
    project: str
    sockets: str
    boot: str
    urls: Mapping[str, str] = field(default_factory=dict)

    def socket(self, name: str) -> Path:
        """Where the unix socket of that name is."""
        return Path(self.sockets) / name


class RunDir:
    """The run folder of one running system, from :meth:`create` to :meth:`close`."""

    def __init__(self, root: Path, info: RunInfo, lock: int) -> None:
        self.root = root
        self.info = info
        self.cleaned: tuple[stale.Leftover, ...] = ()
        self._lock = lock

    @classmethod
    def create(cls, project_dir: Path) -> RunDir:
        """Take the lock, end what an earlier run left behind (``cleaned``), and lay out the folder.

        Raises:
            EnvironmentProblem: a system of this project runs already; the disk is full or not ours.
        """
        project = project_dir.resolve()
        root = _root(project)
        with disk.writing(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            root.chmod(0o700)
            (root.parent / ".gitignore").write_text("*\n", encoding="ascii")
        lock = _take_lock(project)
        try:
            return cls._lay_out(project, root, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _lay_out(cls, project: Path, root: Path, lock: int) -> RunDir:
        cleaned = _clean(project)
        run_id = f"{project_id(project)}-{secrets.token_hex(4)}"
        with disk.writing(root):
            _turn_over(root)
        sockets = _socket_folder(project)
        info = RunInfo(run_id, os.getpid(), time.time(), str(project), str(sockets), stale.boot_id())
        run = cls(root, info, lock)
        run.cleaned = cleaned
        run._save()
        return run

    @property
    def logs(self) -> Path:
        """The folder of this run's logs."""
        return self.root / "logs"

    @property
    def config(self) -> Path:
        """The folder of what the processes read."""
        return self.root / "config"

    @property
    def events(self) -> Path:
        """The file of the event log."""
        return self.logs / "events.jsonl"

    @property
    def journal(self) -> stale.Journal:
        """The journal of process groups; its ``record`` belongs to the guard line."""
        return stale.Journal(self.root / "groups")

    def publish(self, urls: Mapping[str, str]) -> None:
        """Tell clients under which addresses the system answers.

        Raises:
            EnvironmentProblem: the disk is full.
        """
        self.info = replace(self.info, urls=dict(urls))
        self._save()

    def socket(self, name: str) -> Path:
        """The path for a unix socket of that name.

        Raises:
            EnvironmentProblem: it would be longer than the system allows.
        """
        path = self.info.socket(name)
        if len(os.fsencode(path)) > LONGEST_SOCKET_BYTES:
            raise EnvironmentProblem(
                f"the path of a unix socket is too long: {path}",
                hint=f"set TMPDIR to a shorter folder; {LONGEST_SOCKET_BYTES} bytes are allowed in all",
            )
        return path

    def close(self) -> None:
        """The run has ended in good order: only logs and configuration stay. May be called twice."""
        if self._lock < 0:
            return
        shutil.rmtree(self.info.sockets, ignore_errors=True)
        for name in ("run.json", "groups"):
            with suppress(OSError):
                (self.root / name).unlink()
        os.close(self._lock)
        self._lock = -1

    def _save(self) -> None:
        disk.write_atomic(self.root / "run.json", json.dumps(asdict(self.info), indent=2) + "\n")


def read(project_dir: Path) -> RunInfo | None:
    """The running system of a project; ``None`` where none runs, or none is so far that it can be found.

    Raises:
        EnvironmentProblem: the run folder belongs to somebody else.
    """
    root = _root(project_dir.resolve())
    info = _load(root) if is_running(project_dir) else None
    return info if info and psutil.pid_exists(info.pid) else None


def is_running(project_dir: Path) -> bool:
    """Whether a supervisor of this project lives.

    Raises:
        EnvironmentProblem: the run folder belongs to somebody else.
    """
    path = _root(project_dir.resolve()) / "lock"
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise EnvironmentProblem(f"cannot look at {path}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def clean_stale(project_dir: Path) -> tuple[stale.Leftover, ...]:
    """Kill what dead runs of this project left behind; does nothing while a system runs.

    Raises:
        EnvironmentProblem: some processes do not end.
    """
    project = project_dir.resolve()
    if not _root(project).is_dir():
        return ()
    if is_running(project):
        return ()
    lock = _take_lock(project)
    try:
        return _clean(project)
    finally:
        os.close(lock)


def project_id(project: Path) -> str:
    """Eight characters that tell this folder from any other; every run id begins with them.

    Raises:
        EnvironmentProblem: the folder does not exist.
    """
    with disk.writing(project):
        status = project.stat()
    return hashlib.sha256(f"{project} {status.st_dev} {status.st_ino}".encode()).hexdigest()[:8]


def _root(project: Path) -> Path:
    return project / ".holdfast" / "run"


def _load(root: Path) -> RunInfo | None:
    try:
        return RunInfo(**json.loads((root / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _take_lock(project: Path) -> int:
    path = _root(project) / "lock"
    with disk.writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(LOCK_TRIES):  # a client that only looks holds it for a moment
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
        except OSError as error:
            os.close(handle)
            raise EnvironmentProblem(
                f"cannot lock {path}: {error.strerror}",
                hint="the project must be on a disk that supports file locks",
            ) from error
    os.close(handle)
    raise _runs_already(project)


def _runs_already(project: Path) -> EnvironmentProblem:
    info = _load(_root(project))
    who = f" (pid {info.pid})" if info else ""
    return EnvironmentProblem(
        f"a system of {project} is already running{who}",
        hint="end it with `holdfast down`, or look at it with `holdfast status`",
    )


def _clean(project: Path) -> tuple[stale.Leftover, ...]:
    """Kill the leftovers of every run of ``project``; the caller holds the lock, so all of them are dead."""
    root, prefix = _root(project), f"{project_id(project)}-"
    old = _load(root)
    same_boot = old is not None and old.boot == stale.boot_id()
    groups = stale.Journal(root / "groups").groups() if same_boot else {}
    killed = stale.kill(lambda tag: tag.startswith(prefix) or (old is not None and tag == old.run_id), groups)
    for name in ("run.json", "groups"):
        with suppress(OSError):
            (root / name).unlink()
    return killed


def _turn_over(root: Path) -> None:
    """Keep the logs of the run before, drop those before that, and begin with empty folders."""
    logs, previous, config = root / "logs", root / "logs.previous", root / "config"
    shutil.rmtree(config, ignore_errors=True)
    if logs.is_dir():
        shutil.rmtree(previous, ignore_errors=True)
        logs.rename(previous)
    for folder in (logs, config):
        folder.mkdir(mode=0o700)


def running() -> tuple[RunInfo, ...]:
    """Every system of this user that runs on this machine, whatever its project."""
    mine = _sockets_of_user()
    names = mine.glob(f"*/{PROJECT_FILE}") if mine.is_dir() else ()
    projects = (Path(name.read_text(encoding="utf-8")) for name in sorted(names))
    return tuple(info for project in projects if project.is_dir() and (info := read(project)))


def _sockets_of_user() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime if runtime and os.access(runtime, os.W_OK) else tempfile.gettempdir())
    return base / f"holdfast-{os.getuid()}"


def _socket_folder(project: Path) -> Path:
    """An empty folder of ours with a short path, which says whose it is."""
    mine = _sockets_of_user()
    folder = mine / project_id(project)
    with disk.writing(folder):
        mine.mkdir(mode=0o700, exist_ok=True)
        _check_private(mine)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        (folder / PROJECT_FILE).write_text(str(project), encoding="utf-8")
    return folder


def _check_private(folder: Path) -> None:
    """In a folder that all share, somebody else may have taken the name first."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise EnvironmentProblem(
            f"{folder} must be a folder that only you can open",
            hint=f"remove it or give it to yourself with mode 700 (its owner is user {status.st_uid})",
        )
