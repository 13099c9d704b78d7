"""Carries a fleet's decisions out: starts and stops the processes, tells the balancer nodes, reports back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfast.errors import HoldfastError
from holdfast.local import workers
from holdfast.local.addresses import free_port
from holdfast.local.envoy.zone import Target
from holdfast.local.fleet import (
    REGISTERED,
    Action,
    Fleet,
    Launch,
    NodeHealth,
    Note,
    Phase,
    Publish,
    Replica,
    Stop,
)
from holdfast.local.release import Release
from holdfast.local.supervisor import Supervisor
from holdfast.model import App, Event

TICK_S = 0.25


class Balancer(Protocol):
    """The balancer nodes of one region, as the crew needs them."""

    def publish(self, targets: tuple[Target, ...]) -> None: ...
    def seen(self) -> Mapping[str, NodeHealth]: ...


@dataclass(frozen=True, slots=True)
class CrewSetup:
    """What a crew needs besides its fleet; ``idle_s`` as in :class:`workers.Placement`."""

    app: App
    supervisor: Supervisor
    balancer: Balancer
    logs: Path
    zone_host: Mapping[str, str]
    emit: Callable[[Event], None]
    idle_s: float | None = None


class Crew:
    """Runs one :class:`Fleet` of workers in real time."""

    def __init__(self, fleet: Fleet, setup: CrewSetup, release: Release) -> None:
        self.fleet = fleet
        self._setup = setup
        self._releases = {release.number: release}
        self._tasks: set[asyncio.Task[None]] = set()
        self._launches: dict[str, asyncio.Task[None]] = {}
        self._loop_task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._unpublished = False

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Place the first nodes and begin to look after them."""
        self.fleet.begin(time.time())
        self._loop_task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop deciding. The supervisor stops the processes."""
        for task in (self._loop_task, *self._tasks):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(t for t in (self._loop_task, *self._tasks) if t), return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self.fleet.health(self._setup.balancer.seen())
            for action in self.fleet.tick(time.time()):
                self._do(action)
            if self._unpublished:
                self._publish()
            try:
                await asyncio.wait_for(self._wake.wait(), TICK_S)
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    # ------------------------------------------------------------------ what happened

    def exited(self, node_id: str, reason: str) -> None:
        """The supervisor saw the process of ``node_id`` end."""
        self.fleet.exited(node_id, reason, time.time())
        if node_id not in self.fleet.replicas:
            self._forget(node_id)
        self._wake.set()

    # ------------------------------------------------------------------ commands

    def deploy(self, release: Release) -> None:
        """Replace every node by one of ``release``, a few at a time."""
        self._releases[release.number] = release
        self.fleet.deploy(release.number, time.time())
        self._wake.set()

    def scale(self, desired: int) -> None:
        """Change the desired count."""
        self.fleet.scale(desired)
        self._wake.set()

    def interrupt(self, node_id: str) -> None:
        """A spot interruption of one node."""
        self.fleet.interrupt(node_id, time.time())
        self._wake.set()

    def lose_zone(self, zone: str) -> None:
        """Kill what runs in ``zone`` and place nothing there."""
        self.fleet.lose_zone(zone)
        self._kill(lambda node_zone: node_zone == zone)

    def avoid_zone(self, zone: str) -> None:
        """Place nothing in ``zone``, which cannot be reached."""
        self.fleet.lose_zone(zone)
        self._wake.set()

    def lose_region(self) -> None:
        """Kill everything and start nothing."""
        self._kill(lambda _: True)
        self.fleet.lose_region()
        self._wake.set()

    def restore_zone(self, zone: str) -> None:
        """Nodes may be placed in ``zone`` again."""
        self.fleet.restore_zone(zone)
        self._wake.set()

    def restore_region(self) -> None:
        """Launch the desired count anew."""
        self.fleet.restore_region()
        self._wake.set()

    def nodes(self, zone: str | None = None) -> tuple[str, ...]:
        """Ids of the nodes that have a process, all of them or those of one zone."""
        return tuple(
            node_id
            for node_id, replica in self.fleet.replicas.items()
            if replica.phase is not Phase.LAUNCHING and zone in (None, replica.zone)
        )

    def _kill(self, in_zone: Callable[[str], bool]) -> None:
        for node_id, replica in list(self.fleet.replicas.items()):
            if in_zone(replica.zone):
                if task := self._launches.pop(node_id, None):
                    task.cancel()
                self._kill_process(node_id)
                if replica.phase is Phase.LAUNCHING:
                    self.fleet.exited(node_id, "its zone was lost during the launch", time.time())

    # ------------------------------------------------------------------ effects

    def _do(self, action: Action) -> None:
        match action:
            case Launch():
                self._launches[action.node.id] = self._spawn(self._launch(action))
            case Stop():
                self._spawn(self._stop(action))
            case Publish():
                self._publish()
            case Note():
                self._setup.emit(Event(time.time(), action.kind, action.subject, action.message))

    def _publish(self) -> None:
        """Tell the balancer nodes. With a full disk they keep the old targets; it is tried again at every tick."""
        try:
            self._setup.balancer.publish(self._targets())
            self._unpublished = False
        except OSError as error:
            if not self._unpublished:
                self._emit("disk", f"cannot tell the balancer its targets: {error.strerror}")
            self._unpublished = True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What nobody foresaw must not pass in silence."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._emit("error", f"{type(error).__name__}: {error}")

    def _emit(self, kind: str, message: str) -> None:
        self._setup.emit(Event(time.time(), kind, self.fleet.group.id, message))

    def _targets(self) -> tuple[Target, ...]:
        return tuple(
            Target(r.node.id, r.zone, r.host, r.port, draining=r.phase is Phase.DRAINING)
            for r in self.fleet.replicas.values()
            if r.phase in REGISTERED
        )

    async def _launch(self, launch: Launch) -> None:
        await asyncio.sleep(launch.delay_s)
        node_id = launch.node.id
        self.fleet.starting(node_id, time.time())
        host = workers.listens_on(self._setup.app, self._setup.zone_host[launch.node.zone or ""])
        release = self._releases[launch.release]
        try:
            placement = workers.Placement(
                self.fleet.group, launch.node, host, free_port(host), release, self._setup.idle_s
            )
            await self._setup.supervisor.start(workers.spec(self._setup.app, placement, self._setup.logs))
            await self._setup.supervisor.wait_ready(node_id, workers.START_TIMEOUT_S)
        except HoldfastError as error:
            self._kill_process(node_id)
            self.fleet.exited(node_id, error.message, time.time())
        else:
            self.fleet.started(node_id, host, placement.port, time.time())
        finally:
            self._launches.pop(node_id, None)
            self._wake.set()

    async def _stop(self, stop: Stop) -> None:
        if task := self._launches.pop(stop.node_id, None):
            task.cancel()
        with contextlib.suppress(HoldfastError, TimeoutError):
            async with asyncio.timeout(stop.stop_s):
                await self._setup.supervisor.stop(stop.node_id)
        self._kill_process(stop.node_id)
        self.fleet.exited(stop.node_id, "stopped", time.time())
        self._wake.set()

    def _forget(self, node_id: str) -> None:
        """Names are never used twice, so the list of processes would grow with every replacement."""
        with contextlib.suppress(HoldfastError):
            self._setup.supervisor.forget(node_id)

    def _kill_process(self, node_id: str) -> None:
        """SIGKILL, if there is a process of that name."""
        with contextlib.suppress(HoldfastError):
            self._setup.supervisor.kill(node_id, restart=False)

    # ------------------------------------------------------------------ what is so

    def serves(self) -> bool:
        """At least one replica takes traffic."""
        return self.fleet.healthy_count > 0

    def settled(self) -> bool:
        """As many replicas take traffic as are desired, and nothing is on its way."""
        return self.fleet.settled

    def deployment(self) -> Mapping[str, Any] | None:
        """The last deployment, or ``None`` before the first."""
        deployment = self.fleet.deployment
        if deployment is None:
            return None
        return {
            "release": deployment.release,
            "previous": deployment.previous,
            "failures": deployment.failures,
            "outcome": deployment.outcome or "in progress",
            "reason": deployment.reason,
        }

    def status(self) -> Mapping[str, Any]:
        """Desired and healthy counts, and every replica."""
        nodes = [_node_status(replica) for replica in self.fleet.replicas.values()]
        return {"desired": self.fleet.desired, "healthy": self.fleet.healthy_count, "nodes": nodes}


def _node_status(replica: Replica) -> dict[str, Any]:
    return {
        "id": replica.node.id,
        "zone": replica.zone,
        "phase": replica.phase.value,
        "healthy": replica.healthy,
        "release": replica.release,
        "spot": replica.node.spot,
        "since": replica.since,
        "address": f"{replica.host}:{replica.port}" if replica.port else None,
        "in_flight": replica.in_flight,
    }
