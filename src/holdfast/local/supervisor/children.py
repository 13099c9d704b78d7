"""Operating-system processes: start one, see it end, signal all that belongs to it.

Each child leads a session and process group of its own, so that one signal reaches it with its descendants.
Descendants that left the group (PostgreSQL's backends do) are found through their parents.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from holdfast.local import disk, guard
from holdfast.model import ProcessSpec

PR_SET_PDEATHSIG = 1
EXIT_POLL_S = 0.02
TAIL_BYTES = 4096
TAIL_LINES = 8

# Loaded before any fork: a forked child must not load libraries.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def spawn(spec: ProcessSpec, run_id: str) -> subprocess.Popen[bytes]:
    """Start the program of ``spec``, tagged with the run.

    To be called from a thread that lives as long as the run: Linux ends the child together with that thread.

    Raises:
        OSError: no such program or folder, a full disk, no more processes.
    """
    log = Path(spec.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab", buffering=0) as output, _threads_are_fine():
        return subprocess.Popen(
            spec.argv,
            cwd=spec.cwd,
            env={**spec.env, guard.TAG: run_id},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent(),
        )


def spawn_words(spec: ProcessSpec, error: OSError) -> str:
    """Why :func:`spawn` failed, for people."""
    if error.errno in disk.FULL:
        return f"cannot start {spec.name}: {disk.problem(error, Path(spec.log))}"
    place = "" if error.filename in (None, spec.argv[0]) else f": {error.filename}"
    return f"cannot start {spec.name} ({spec.argv[0]}): {error.strerror or error}{place}"


def spawn_guard(run_id: str) -> subprocess.Popen[bytes]:
    """Start the guard of a run; its stdin is the line to it. No environment: it must carry no tag itself."""
    return subprocess.Popen(
        (sys.executable, "-I", "-S", guard.__file__, run_id),
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _die_with_parent() -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    prctl, parent = _LIBC.prctl, os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask


@contextmanager
def _threads_are_fine() -> Iterator[None]:
    # Python 3.12 warns of a fork beside threads; between fork and exec only prctl runs, which takes no lock.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def when_ended(child: subprocess.Popen[bytes], then: Callable[[], None]) -> None:
    """Call ``then`` in the running loop once ``child`` has ended; on Linux it is not reaped by then."""
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # not on macOS, not on an old kernel
        _poll_exit(loop, child, then)
        return

    def ended() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        then()

    loop.add_reader(handle, ended)


def _poll_exit(
    loop: asyncio.AbstractEventLoop, child: subprocess.Popen[bytes], then: Callable[[], None]
) -> None:
    if child.poll() is None:
        loop.call_later(EXIT_POLL_S, _poll_exit, loop, child, then)
    else:
        then()


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group that may be gone already."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def signal_all(pid: int, number: int) -> frozenset[int]:
    """Send a signal to the group that ``pid`` leads and to its descendants outside; returns their groups.

    For signals that nobody handles (KILL, STOP, CONT); what a polite signal means is up to the leader.
    """
    strays = {process: _group_of(process.pid) for process in _descendants(pid)}
    signal_group(pid, number)
    for process, group in strays.items():
        with suppress(psutil.Error):
            if group != pid:
                process.send_signal(number)
    return frozenset(group for group in strays.values() if group not in (None, pid))


def _descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _group_of(pid: int) -> int | None:
    with suppress(OSError):
        return os.getpgid(pid)
    return None


def group_lives(group: int) -> bool:
    """Whether a process of the group still runs; one that only waits to be reaped does not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return any(
        process.info["status"] != psutil.STATUS_ZOMBIE and _group_of(process.pid) == group
        for process in psutil.process_iter(["status"])
    )


def exit_words(code: int) -> str:
    """``exit code 3`` or ``killed by signal 9 (SIGKILL)``; ``code`` is negative for a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"


def log_size(path: str) -> int:
    """Bytes in a log, 0 where there is none yet."""
    with suppress(OSError):
        return os.stat(path).st_size
    return 0


def log_tail(path: str, start: int) -> str:
    """The last lines of a log from byte ``start`` on; empty where there are none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(start, log_size(path) - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line.rstrip() for line in lines[-TAIL_LINES:] if line.strip())
