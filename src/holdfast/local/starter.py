"""Runs a region's functions: starts the front, starts and stops the environments it asks for, shifts versions.

The front decides (it holds the requests); this end only has the processes. They talk JSON lines, described in
``functions.control``. The balancer nodes see one target: the front, which is regional and outside of every zone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.errors import EnvironmentProblem, HoldfastError, InputError, Problem
from holdfast.local import workers
from holdfast.local.addresses import free_port
from holdfast.local.balancers import Balancers
from holdfast.local.envoy.zone import Target
from holdfast.local.functions.config import FrontConfig, FunctionConfig, Start, dump, environment_spec
from holdfast.local.plan import Plan
from holdfast.local.release import Release
from holdfast.local.supervisor import Supervisor
from holdfast.model import Event, Node, ProcessSpec, ReadyProbe, Role

ENVIRONMENT_STOP_S = 2.0
CONNECT_EVERY_S = 0.05
STATUS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class FunctionsSetup:
    """What :class:`Functions` needs."""

    plan: Plan
    region: str
    supervisor: Supervisor
    balancers: Balancers
    emit: Callable[[Event], None]


@dataclass(slots=True)
class Shift:
    """A deployment of a new version: one environment is tried without traffic, then the alias moves."""

    release: int
    previous: int
    outcome: str = ""
    reason: str = ""


class Functions:
    """The functions of one region."""

    def __init__(self, setup: FunctionsSetup, release: Release) -> None:
        self._setup = setup
        self._releases = {release.number: release}
        self._version = release.number
        self._front = f"{setup.region}/front"
        self._host = setup.plan.site.network.regional_ip(setup.plan.topology.regions.index(setup.region))
        self._port = free_port(self._host)
        self._control = setup.plan.site.sockets / f"{setup.region}-front.sock"
        self._writer: asyncio.StreamWriter | None = None
        self._environments: dict[str, str] = {}
        self._front_status: Mapping[str, Any] = {}
        self._shift: Shift | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._down = False

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Start the front and register it with the region's gateways."""
        self._spawn(self._run())
        self._spawn(self._ask_status())

    async def stop(self) -> None:
        """Stop listening to the front. The supervisor stops the processes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()

    async def _run(self) -> None:
        supervisor = self._setup.supervisor
        await supervisor.start(self._front_spec())
        await supervisor.wait_ready(self._front, workers.START_TIMEOUT_S)
        zone = self._setup.plan.topology.zones[self._setup.region][0]
        self._setup.balancers.publish((Target(self._front, zone, self._host, self._port),))
        while True:
            with contextlib.suppress(OSError, ValueError):
                await self._converse()
            await asyncio.sleep(CONNECT_EVERY_S)

    async def _converse(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(str(self._control))
        self._say({"starter": True})
        while text := await reader.readline():
            self._hear(json.loads(text))

    def _front_spec(self) -> ProcessSpec:
        folder = self._setup.plan.site.folder / "functions" / self._setup.region
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "front.json"
        config = FrontConfig(
            function=self._function(),
            control=str(self._control),
            host=self._host,
            port=self._port,
            version=self._version,
        )
        path.write_text(dump(config), encoding="utf-8")
        return ProcessSpec(
            name=self._front,
            argv=(sys.executable, "-m", "holdfast.local.functions.front", "--config", str(path)),
            env=workers.inherited(),
            cwd=str(folder),
            log=str(self._setup.plan.logs / f"{self._setup.region}_front.log"),
            ready=ReadyProbe(self._host, self._port),
        )

    def _function(self) -> FunctionConfig:
        topology, region = self._setup.plan.topology, self._setup.region
        group, gateways = topology.compute(region), topology.of_role(Role.GATEWAY, region=region)
        acts, settings = group.behaviour, group.settings
        if topology.app.target is None:
            raise InputError(
                (Problem("a function needs [service] app; a command cannot run on the functions pattern"),),
                hint='name an ASGI or WSGI object: app = "package.module:app"',
            )
        return FunctionConfig(
            name=topology.app.name,
            app=topology.app.target,
            region=region,
            zones=group.zones,
            concurrency=acts.fleet_concurrency or 1,
            timeout_s=acts.request_timeout_s or 0.0,
            memory_mb=settings.memory_mb,
            max_payload_bytes=acts.max_payload_bytes or 0,
            init_timeout_s=acts.grace_s or 0.0,
            integration_timeout_s=gateways[0].behaviour.request_timeout_s if gateways else None,
            provisioned=settings.provisioned,
            idle_s=acts.idle_timeout_s or 0.0,
            **({"stage": gateways[0].settings.stage} if gateways else {}),
        )

    # ------------------------------------------------------------------ the conversation

    def _say(self, line: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(line).encode() + b"\n")

    def _hear(self, line: Mapping[str, Any]) -> None:
        match line:
            case {"start": dict(start)}:
                self._spawn(self._start_environment(Start(**start)))
            case {"retire": str(environment), "now": bool(now)}:
                self._spawn(self._retire(environment, at_once=now))
            case {"version": int(version), "state": str(state)}:
                self._version_news(version, state, str(line.get("error", "")))
            case {"status": dict(status)}:
                self._front_status = status
            case _:
                return

    async def _ask_status(self) -> None:
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            self._say({"status": True})

    async def _start_environment(self, start: Start) -> None:
        plan = self._setup.plan
        argv, platform = environment_spec(self._function(), start)
        node = Node(
            f"{start.zone}/{plan.topology.compute(self._setup.region).component}-{start.environment}",
            start.zone,
        )
        spec = ProcessSpec(
            name=node.id,
            argv=argv,
            env={
                **workers.inherited(),
                **platform,
                "HOLDFAST_NODE": node.id,
                "HOLDFAST_REGION": self._setup.region,
                **plan.topology.app.env,
            },
            cwd=str(self._releases[start.version].folder),
            log=str(plan.logs / f"{self._setup.region}_functions.log"),
            stop_s=ENVIRONMENT_STOP_S,
            restart=False,
            node=node.id,
        )
        self._environments[node.id] = start.environment
        try:
            await self._setup.supervisor.start(spec)
        except HoldfastError as error:
            self.exited(node.id, error.message)

    async def _retire(self, environment: str, *, at_once: bool) -> None:
        for node_id, known in list(self._environments.items()):
            if known == environment:
                with contextlib.suppress(HoldfastError):
                    if at_once:
                        self._setup.supervisor.kill(node_id, restart=False)
                    else:
                        await self._setup.supervisor.stop(node_id)

    def exited(self, node_id: str, reason: str) -> None:
        """The process of an environment has ended."""
        if environment := self._environments.pop(node_id, None):
            self._say({"environment": environment, "state": "exited", "reason": reason})

    # ------------------------------------------------------------------ commands

    def deploy(self, release: Release) -> None:
        """Try one environment of ``release`` without traffic; move the alias if it initialises."""
        self._releases[release.number] = release
        self._shift = Shift(release.number, self._version)
        self._say({"probe": release.number})

    def _version_news(self, version: int, state: str, error: str) -> None:
        shift = self._shift
        if shift is None or shift.outcome or version != shift.release:
            return
        if state == "failed":
            shift.outcome, shift.reason = "rolled back", error
            self._note("rolled-back", f"version {version} was not put into service: {error}")
        elif state == "ready" and self._version != version:
            self._version = version
            self._say({"version": version})
        elif state == "settled":
            shift.outcome = "done"
            self._note("deployed", f"version {version} serves all requests")

    def scale(self, desired: int) -> None:
        """Functions have no desired count; the caller has refused this before."""
        raise EnvironmentProblem(f"functions scale by themselves; {desired} cannot be set")

    def interrupt(self, node_id: str) -> None:
        """Functions have no spot capacity."""
        raise InputError((Problem(f"{node_id} is not on spot capacity"),))

    def lose_zone(self, zone: str) -> None:
        """The environments of ``zone`` die; new ones start elsewhere."""
        self._say({"zone": zone, "state": "lost"})
        self._kill(zone)

    def avoid_zone(self, zone: str) -> None:
        """Environments start elsewhere; those of ``zone`` are left as they are."""
        self._say({"zone": zone, "state": "lost"})

    def restore_zone(self, zone: str) -> None:
        """Environments may start in ``zone`` again."""
        self._say({"zone": zone, "state": "back"})

    def lose_region(self) -> None:
        """Front and environments are gone."""
        self._down = True
        with contextlib.suppress(HoldfastError):
            self._setup.supervisor.kill(self._front, restart=False)
        self._kill(None)

    def restore_region(self) -> None:
        """The front starts again; environments follow with the first requests."""
        self._down = False
        self._spawn(self._restart_front())

    async def _restart_front(self) -> None:
        await self._setup.supervisor.stop(self._front)  # returns at once unless the kill is still under way
        await self._setup.supervisor.start(self._front_spec())

    def _kill(self, zone: str | None) -> None:
        for node_id in self.nodes(zone):
            with contextlib.suppress(HoldfastError):
                self._setup.supervisor.kill(node_id, restart=False)

    def nodes(self, zone: str | None = None) -> tuple[str, ...]:
        """Ids of the environments that have a process."""
        return tuple(
            node_id for node_id in self._environments if zone is None or node_id.startswith(f"{zone}/")
        )

    # ------------------------------------------------------------------ what is so

    def serves(self) -> bool:
        """The front answers, so a request gets an environment."""
        return bool(self._front_status) and not self._down

    def settled(self) -> bool:
        """The front answers and no version is being shifted."""
        return self.serves() and not (self._shift and not self._shift.outcome)

    def deployment(self) -> Mapping[str, Any] | None:
        """The last version shift, or ``None``."""
        shift = self._shift
        if shift is None:
            return None
        return {
            "release": shift.release,
            "previous": shift.previous,
            "failures": int(shift.outcome == "rolled back"),
            "outcome": shift.outcome or "in progress",
            "reason": shift.reason,
        }

    def status(self) -> Mapping[str, Any]:
        """Environments, and the front's counters."""
        front = self._front_status
        known = {name: node_id for node_id, name in self._environments.items()}
        nodes = [
            _node_status(known[row["environment"]], row)
            for row in front.get("environments", ())
            if row["environment"] in known
        ]
        counters = {name: value for name, value in front.items() if name != "environments"}
        count = int(self.serves())
        return {"desired": 1, "healthy": count, "nodes": nodes, "function": counters}

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _note(self, kind: str, message: str) -> None:
        group = self._setup.plan.topology.compute(self._setup.region)
        self._setup.emit(Event(time.time(), kind, group.id, message))


def _node_status(node_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": node_id,
        "zone": row["zone"],
        "phase": row["state"],
        "healthy": row["state"] in ("idle", "busy", "answered"),
        "release": row["version"],
        "spot": False,
        "since": time.time() - row["for_s"],
        "address": None,
        "in_flight": int(row["state"] == "busy"),
    }
