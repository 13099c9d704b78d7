"""What the processes of a run use and serve: CPU and memory from the operating system, requests from the proxies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import psutil


class CpuMeter:
    """CPU of process trees between two readings."""

    def __init__(self, cpu_s: Callable[[int], float] | None = None) -> None:
        self._cpu_s = cpu_s or tree_cpu_s
        self._before: dict[int, tuple[float, float]] = {}

    def vcpus(self, pids: Iterable[int], now: float) -> list[float]:
        """vCPUs that each tree kept busy since the last call, 1.0 being one whole; a new tree has no value yet.

        ``now`` is in seconds of a clock that does not jump.
        """
        before, self._before = self._before, {pid: (now, self._cpu_s(pid)) for pid in pids}
        return [
            max(0.0, used_s - before[pid][1]) / max(1e-3, now - before[pid][0])
            for pid, (_, used_s) in self._before.items()
            if pid in before
        ]


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of ``pid``, of its descendants, and of children that have ended."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            total += times.user + times.system + ended
    return total


@dataclass(frozen=True, slots=True)
class Served:
    """Requests that one proxy has passed on until ``t`` (seconds, monotonic)."""

    t: float
    requests: int


class RequestMeter:
    """Requests per second of a region between two looks at its proxies' counters."""

    def __init__(self) -> None:
        self._before: dict[str, Served] = {}
        self._rates: dict[str, float] = {}

    def rate(self, served: Mapping[str, Served]) -> float:
        """Requests/s since the last call, all proxies together; one that was not read since keeps its rate."""
        for name in set(self._before) - served.keys():
            self._before.pop(name)
            self._rates.pop(name, None)
        for name, now in served.items():
            before = self._before.get(name)
            if before is not None and now.t > before.t:
                self._rates[name] = max(0, now.requests - before.requests) / (now.t - before.t)
            self._before[name] = now
        return sum(self._rates.values())


def memory_mb(pids: Iterable[int]) -> float:
    """Memory of these process trees in MB; shared pages are divided among their users (PSS) where that is known."""
    total = 0
    for pid in pids:
        for process in _tree(pid):
            with contextlib.suppress(psutil.Error):
                total += _bytes(process)
    return round(total / 1e6, 1)


def _bytes(process: psutil.Process) -> int:
    full = process.memory_full_info()
    return int(getattr(full, "pss", None) or full.uss)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []
