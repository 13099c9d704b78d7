"""The crew's own care: what it does when the disk is full or something nobody foresaw happens."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holdfast.components import component
from holdfast.local.crew import Crew, CrewSetup
from holdfast.local.envoy.zone import Target
from holdfast.local.fleet import Fleet, NodeHealth
from holdfast.local.release import Release
from holdfast.model import App, Event, Group, ProcessSpec, Role

ZONES = ("r1a", "r1b")


class Processes:
    """A supervisor whose processes start at once; ``fails`` says which call breaks."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.started: list[str] = []
        self._fails = fails

    async def start(self, spec: ProcessSpec) -> None:
        if self._fails:
            raise self._fails
        self.started.append(spec.name)

    async def wait_ready(self, name: str, timeout_s: float) -> None:
        return None


class FullDisk:
    """A balancer that cannot be told anything the first ``times``."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.told: tuple[Target, ...] = ()

    def publish(self, targets: tuple[Target, ...]) -> None:
        if self.times > 0:
            self.times -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.told = targets

    def seen(self) -> Mapping[str, NodeHealth]:
        return {}


async def run(crew: Crew, until: Callable[[], bool]) -> None:
    crew.start()
    try:
        async with asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0.01)
    finally:
        await crew.stop()


def a_crew(supervisor: Any, balancer: Any, events: list[Event], folder: Path) -> Crew:
    block = component("ecs")
    settings = block.Settings(replicas_min=2)
    nodes = block.place(settings, "r1", ZONES)
    group = Group("ecs.r1", "ecs", Role.WORKERS, "r1", settings, block.behaviour(settings), nodes, ZONES)
    app = App("svc", str(folder), "api:app")
    setup = CrewSetup(app, supervisor, balancer, folder, dict.fromkeys(ZONES, "127.0.0.1"), events.append)
    return Crew(Fleet(group, 2), setup, Release(1, folder))


async def test_targets_reach_the_balancer_once_the_disk_has_room(tmp_path: Path) -> None:
    events: list[Event] = []
    disk = FullDisk(times=3)
    await run(a_crew(Processes(), disk, events, tmp_path), lambda: len(disk.told) == 2)
    assert [event.message for event in events if event.kind == "disk"] == [
        "cannot tell the balancer its targets: No space left on device"
    ]


async def test_what_nobody_foresaw_becomes_an_event(tmp_path: Path) -> None:
    events: list[Event] = []
    crew = a_crew(Processes(fails=RuntimeError("odd")), FullDisk(0), events, tmp_path)
    await run(crew, lambda: any(event.kind == "error" for event in events))
    assert "RuntimeError: odd" in {event.message for event in events if event.kind == "error"}
