"""The guard: a tiny process that outlives a killed supervisor just long enough to end everything it started.

::

    supervisor ── stdin: "+4711\\n", "-4711\\n" ──► guard     end of file: the supervisor is gone
                                                     │
         SIGKILL to each process group, then to every process whose environment carries the run's tag

It is run as a file by ``python -I -S`` and imports next to nothing: it starts quickly and stays small.
It sits in a session of its own and ignores the signals a terminal or a service manager sends to everybody.
"""

import os
import signal
import sys
import time

TAG = "HOLDFAST_RUN"
"""The environment variable that holds the run id in every process of a run."""

SWEEPS = 40
SWEEP_PAUSE_S = 0.05


def read_groups(source: int) -> set[int]:
    """The process groups still known at the end of file of ``source``."""
    groups: set[int] = set()
    rest = b""
    while chunk := os.read(source, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    return groups


def kill_group(group: int) -> None:
    """SIGKILL to a group that may be gone already."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def tagged(run_id: str, proc: str = "/proc") -> list[int]:
    """Ids of the processes with ``HOLDFAST_RUN=<run_id>`` in their environment; none without /proc."""
    wanted = f"{TAG}={run_id}".encode()
    ids = [int(name) for name in os.listdir(proc) if name.isdigit()] if os.path.isdir(proc) else []
    return [pid for pid in ids if pid != os.getpid() and wanted in _environment(f"{proc}/{pid}/environ")]


def _environment(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def sweep(run_id: str) -> bool:
    """Kill every tagged process once; False when there was none."""
    found = tagged(run_id)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    return bool(found)


def main() -> None:
    """Follow stdin until it ends, then kill what is left of run ``argv[1]``."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for group in read_groups(0):
        kill_group(group)
    for _ in range(SWEEPS):
        if not sweep(sys.argv[1]):
            break
        time.sleep(SWEEP_PAUSE_S)


if __name__ == "__main__":
    main()
