"""CPU and memory of the processes of a run, from the operating system."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


class CpuMeter:
    """CPU of process trees between two calls."""

    def __init__(self) -> None:
        self._before: dict[int, float] = {}

    def seconds(self, pid: int) -> float:
        """CPU seconds that ``pid`` and its descendants used since the last call for it; 0 the first time."""
        total = 0.0
        for process in _tree(pid):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        before = self._before.get(pid, total)
        self._before[pid] = total
        return max(0.0, total - before)

    def forget(self, keep: Iterable[int]) -> None:
        """Drop what is known of processes that are gone."""
        self._before = {pid: self._before[pid] for pid in keep if pid in self._before}


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
