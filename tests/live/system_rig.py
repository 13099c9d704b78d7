"""Runs `holdfast` as a user would, in processes of its own, and loads the system from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

REPOSITORY = Path(__file__).parents[2]
ORDERS = REPOSITORY / "examples" / "orders"
ANY_PORTS = ("--http-port", "0", "--https-port", "0", "--dns-port", "0")
START_TIMEOUT_S = 90.0


def holdfast(*arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [sys.executable, "-m", "holdfast", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert not check or done.returncode == 0, done.stderr
    assert 'Traceback (most recent call last):\n  File "' + str(REPOSITORY / "src") not in done.stderr
    return done


def as_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def project(folder: Path, source: Path = ORDERS) -> Path:
    """A copy of an example, so that each test has a run folder of its own."""
    target = folder / source.name
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".holdfast", "__pycache__"))
    return target


@dataclass
class Running:
    """A system that was started with ``up --detach``."""

    project: Path
    answer: dict[str, Any]

    @property
    def urls(self) -> dict[str, Any]:
        urls: dict[str, Any] = self.answer["urls"]
        return urls

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return holdfast(*arguments, cwd=self.project, check=check)

    def status(self) -> dict[str, Any]:
        return as_json(self.run("status", "--json"))

    def nodes(self) -> list[dict[str, Any]]:
        return [
            node for region in self.status()["regions"] for zone in region["zones"] for node in zone["nodes"]
        ]

    def healthy_by_zone(self) -> Counter[str]:
        return Counter(node["zone"] for node in self.nodes() if node["healthy"])

    def until(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 60.0) -> dict[str, Any]:
        """The first status for which ``condition`` holds."""
        deadline = time.monotonic() + timeout_s
        while not condition(status := self.status()):
            assert time.monotonic() < deadline, json.dumps(status, indent=1)
            time.sleep(0.2)
        return status

    def pids(self) -> set[int]:
        pid = self.status()["pid"]
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}


@contextlib.contextmanager
def up(folder: Path, *options: str) -> Iterator[Running]:
    """Start the system of ``folder``, stop it at the end, and see that nothing is left."""
    answer = as_json(holdfast("up", "--detach", "--json", *ANY_PORTS, *options, cwd=folder))
    system = Running(folder, answer)
    pids: set[int] = set()
    try:
        pids |= system.pids()
        yield system
    finally:
        with contextlib.suppress(Exception):
            pids |= system.pids()
        holdfast("down", cwd=folder)
        gone(pids)


def gone(pids: set[int], timeout_s: float = 10.0) -> None:
    """Wait until none of these processes exists."""
    deadline = time.monotonic() + timeout_s
    while left := [pid for pid in pids if psutil.pid_exists(pid) and _alive(pid)]:
        assert time.monotonic() < deadline, [psutil.Process(pid).cmdline() for pid in left]
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Load:
    """Requests at a constant rate, each on its own schedule; what came back, by time of sending."""

    outcomes: list[tuple[float, str, str]] = field(default_factory=list)

    @property
    def failures(self) -> list[tuple[float, str, str]]:
        return [row for row in self.outcomes if row[1] != "200"]

    @property
    def served_by(self) -> Counter[str]:
        return Counter(row[2] for row in self.outcomes if row[1] == "200")

    def since(self, t: float) -> Load:
        return Load([row for row in self.outcomes if row[0] >= t])


@contextlib.asynccontextmanager
async def load(url: str, *, rate: float = 100.0, method: str = "GET") -> AsyncIterator[Load]:
    """Send ``rate`` requests a second to ``url`` until the block ends; no retries."""
    result = Load()
    stop = asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        sender = asyncio.create_task(_send(session, (method, url, rate), result, stop))
        try:
            yield result
        finally:
            stop.set()
            await sender


async def _send(
    session: aiohttp.ClientSession, what: tuple[str, str, float], result: Load, stop: asyncio.Event
) -> None:
    method, url, rate = what
    began, count, tasks = time.time(), 0, set()
    while not stop.is_set():
        due = began + count / rate
        if (wait_s := due - time.time()) > 0:
            await asyncio.sleep(wait_s)
        count += 1
        task = asyncio.create_task(_one(session, method, url, result))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def _one(session: aiohttp.ClientSession, method: str, url: str, result: Load) -> None:
    sent = time.time()
    try:
        async with session.request(method, url) as response:
            body = await response.json(content_type=None) if response.status == 200 else {}
            result.outcomes.append(
                (sent, str(response.status), body.get("node", "") if isinstance(body, dict) else "")
            )
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        result.outcomes.append((sent, type(error).__name__, ""))
