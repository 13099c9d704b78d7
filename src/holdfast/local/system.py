"""The running system: one handle on everything, for the command line, the console and the drills.

::

    System ── supervisor ─► zone proxies, edge, cache, fronts, replicas
       ├───── regions ────► balancers (what they see) + workforce (what runs the program)
       ├───── dns ────────► name server + health checks
       └───── faults ─────► expected and measured, side by side
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from holdfast.errors import EnvironmentProblem, InputError, Problem
from holdfast.local import control, targets
from holdfast.local import plan as plans
from holdfast.local.acts import Acts
from holdfast.local.ask import ask
from holdfast.local.autoscaler import Autoscaler
from holdfast.local.build import Built, build
from holdfast.local.events import EventLog
from holdfast.local.faults import FaultLog
from holdfast.local.release import Release, make
from holdfast.local.snapshot import Snapshot
from holdfast.local.targets import Names
from holdfast.model import Event, Topology

OBSERVE_EVERY_S = 0.25
SCALE_EVERY_S = 60.0
"""Auto Scaling's metrics have a period of one minute; ``--speed`` shortens it here."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of :meth:`System.start` chooses. A port of 0 takes any that is free."""

    speed: float = 1.0
    http_port: int = 8080
    https_port: int = 8443
    dns_port: int = 8053
    ready_timeout_s: float = 60.0


Progress = Callable[[str], None]


class System:
    """A running topology. Make one with :meth:`start`; end it with :meth:`stop`."""

    def __init__(self, built: Built, options: Options) -> None:
        self.built = built
        self.options = options
        self.faults = FaultLog()
        self.acts = Acts(built, self.faults, options.speed)
        self.autoscaler = Autoscaler(built)
        self.snapshot = Snapshot(built, options.speed)
        self.ready_s = 0.0
        self.stopping = asyncio.Event()
        self._release = 1
        self._stack = AsyncExitStack()
        self._observer: asyncio.Task[None] | None = None
        self._rollout: asyncio.Task[None] | None = None

    @property
    def topology(self) -> Topology:
        """What runs."""
        return self.built.plan.topology

    # ------------------------------------------------------------------ life

    @classmethod
    async def start(cls, topology: Topology, project: str, options: Options, progress: Progress) -> System:
        """Start everything and wait until every region serves.

        Raises:
            EnvironmentProblem: a port is taken, a system already runs, the disk is full, or the program does not
                get healthy; nothing is left running.
        """
        began = time.monotonic()
        stack = AsyncExitStack()
        try:
            built = await build(topology, project, options, stack)
            system = cls(built, options)
            system._stack = stack
            await system._begin(progress)
        except BaseException:
            await stack.aclose()
            raise
        system.ready_s = round(time.monotonic() - began, 2)
        system.snapshot.ready_s = system.ready_s
        built.emit(Event(time.time(), "ready", "system", f"every region serves after {system.ready_s:.1f} s"))
        return system

    async def _begin(self, progress: Progress) -> None:
        await self._serve_control()
        self._observer = asyncio.create_task(self._observe())
        self._stack.push_async_callback(self._stop_observer)
        try:
            async with asyncio.timeout(self.options.ready_timeout_s):
                await self._until_ready(progress)
        except TimeoutError:
            why = await self._why_unhealthy()
            raise EnvironmentProblem(
                f"not ready after {self.options.ready_timeout_s:g} s: {self._missing()}{why}",
                hint=f"the logs are in {self.built.plan.logs}",
            ) from None

    async def _why_unhealthy(self) -> str:
        """What a replica that listens answers to the health check, in words; empty when none listens."""
        path = self.topology.app.health_path
        for region in self.built.regions.values():
            for node in region.workforce.status()["nodes"]:
                if node["address"] and not node["healthy"]:
                    return f"; {node['id']} listens, but GET {path} {await ask(node['address'], path)}"
        return ""

    async def _until_ready(self, progress: Progress) -> None:
        for name in self.built.permanent:
            await self.built.supervisor.wait_ready(name, self.options.ready_timeout_s)
        said = ""
        while missing := self._missing():
            if (why := self.built.last_failure()) and self.built.failed_often():
                raise EnvironmentProblem(f"the program does not start: {why}")
            if missing != said:
                progress(missing)
                said = missing
            await asyncio.sleep(0.05)

    def _missing(self) -> str:
        """What is not there yet, in words; empty when the system is ready."""
        waiting = []
        for region in self.built.regions.values():
            status = region.workforce.status()
            if not region.workforce.settled() or not self._balanced(region.name):
                waiting.append(f"{region.name} {status['healthy']}/{status['desired']} healthy")
        return ", ".join(waiting)

    def _balanced(self, region: str) -> bool:
        """Every zone's balancer node of the region has at least one healthy target or needs none."""
        parts = self.built.regions[region]
        return all(parts.balancers.answering(zone) for zone in parts.zones) and parts.workforce.serves()

    async def stop(self) -> None:
        """Stop everything in order; nothing is left running. Safe to call twice."""
        await self._stack.aclose()

    def request_stop(self) -> None:
        """Ask whoever waits on ``stopping`` to stop the system."""
        self.stopping.set()

    async def _stop_observer(self) -> None:
        if self._observer is not None:
            self._observer.cancel()
            await asyncio.gather(self._observer, return_exceptions=True)
        await self.acts.links.close()

    async def _serve_control(self) -> None:
        token = secrets.token_urlsafe(32)
        run = self.built.run
        path = run.socket("token")
        path.touch(mode=0o600)
        path.write_text(token, encoding="utf-8")
        runner = await control.serve(self, str(run.socket("control")), token)
        self._stack.push_async_callback(runner.cleanup)
        self.built.run.publish(self.built.urls())

    async def _observe(self) -> None:
        """Note milestones of faults, and once a period let Auto Scaling look at the metrics."""
        period_s = SCALE_EVERY_S / self.options.speed
        began = time.monotonic()
        due = began + period_s
        while True:
            await asyncio.sleep(OBSERVE_EVERY_S)
            for fault, milestone in self.faults.observe(time.time()):
                seconds = fault.measured[milestone]
                message = f"{fault.operation} {fault.target.id}: {milestone} after {seconds:.1f} s"
                self.built.emit(Event(time.time(), "measured", fault.target.id, message, {"fault": fault.id}))
            with contextlib.suppress(OSError):  # a full disk; the next look writes it
                self.acts.links.follow_dns()
            if self.faults.watching:
                await self.acts.links.look_at_edge()
            if (now := time.monotonic()) >= due:
                due = max(due + period_s, now)  # a machine that slept owes no datapoints
                self.autoscaler.observe((now - began) * self.options.speed)

    # ------------------------------------------------------------------ the handle

    def status(self) -> Mapping[str, Any]:
        """Everything there is to see, as JSON-able values."""
        return self.snapshot.take()

    async def act(self, operation: str, target: str) -> Mapping[str, Any]:
        """``kill``, ``pause``, ``resume``, ``cut`` or ``interrupt`` what ``target`` names.

        Raises:
            InputError: there is no such target, or the operation does not apply to it.
        """
        fault = await self.acts.perform(operation, targets.resolve(target, self.names()))
        return fault.as_json()

    def names(self) -> Names:
        """Everything that can be a target now."""
        topology = self.topology
        nodes = [node for region in self.built.regions.values() for node in region.workforce.nodes()]
        fronts = [
            node.id for group in topology.groups if group.role in plans.PROXY_ROLES for node in group.nodes
        ]
        zones = tuple(zone for region in topology.regions for zone in topology.zones[region])
        links = tuple(link.id for link in topology.links)
        return Names((*nodes, *fronts), zones, topology.regions, links)

    async def scale(self, desired: int, region: str | None) -> Mapping[str, Any]:
        """Set the desired count of one region or of all.

        Raises:
            InputError: outside of the manifest's bounds, or no such region.
        """
        chosen = [region] if region else list(self.built.regions)
        problems = [self._scale_problem(name, desired) for name in chosen]
        if any(problems):
            raise InputError(tuple(Problem(problem) for problem in problems if problem))
        for name in chosen:
            self.built.regions[name].workforce.scale(desired)
        policies = [self.built.regions[name].group.behaviour.scale for name in chosen]
        tracked = any(policy and (policy.cpu_pct or policy.rps_per_node) for policy in policies)
        return {"desired": dict.fromkeys(chosen, desired), "tracked": tracked}

    def _scale_problem(self, region: str, desired: int) -> str:
        if region not in self.built.regions:
            return f"no region {region} (there are {', '.join(self.built.regions)})"
        policy = self.built.regions[region].group.behaviour.scale
        if policy is None:
            return f"{self.built.regions[region].group.component} scales by itself; there is no count to set"
        if not policy.minimum <= desired <= policy.maximum:
            return (
                f"{desired} is outside of [compute] replicas {policy.minimum}..{policy.maximum} in {region}"
            )
        return ""

    async def reload(self) -> Mapping[str, Any]:
        """Deploy the program as it is on disk now, one region after the other.

        Raises:
            InputError: a deployment is under way.
        """
        if self.deployment()["outcome"] == "in progress":
            raise InputError((Problem("a deployment is under way"),), hint="wait for it: `holdfast status`")
        self._release += 1
        release = await asyncio.to_thread(make, self.topology.app, self._release, self.built.releases)
        self._rollout = asyncio.create_task(self._roll_out(release))
        return self.deployment()

    async def _roll_out(self, release: Release) -> None:
        for region in self.built.regions.values():
            region.workforce.deploy(release)
            while (state := region.workforce.deployment()) and state["outcome"] == "in progress":
                await asyncio.sleep(OBSERVE_EVERY_S)
            if state and state["outcome"] != "done":
                return
        self.built.sync_client()
        self.acts.links.invalidate()

    def deployment(self) -> Mapping[str, Any]:
        """The state of the last ``reload`` over all regions."""
        known = {name: region.workforce.deployment() for name, region in self.built.regions.items()}
        regions = {
            name: state for name, state in known.items() if state and state["release"] == self._release
        }
        failed = [state for state in regions.values() if state["outcome"] == "rolled back"]
        reason = failed[0]["reason"] if failed else ""
        running = self._rollout is not None and not self._rollout.done()
        outcome = (
            "rolled back" if failed else "in progress" if running else "done" if self._rollout else "none"
        )
        return {"release": self._release, "outcome": outcome, "regions": regions, "reason": reason}

    def fault(self, fault_id: str) -> Mapping[str, Any]:
        """A fault of this run with what was expected and what was measured."""
        return self.faults.get(fault_id).as_json()

    async def events(self, after: int, wait_s: float) -> tuple[int, list[Event]]:
        """Events with a number above ``after``; waits up to ``wait_s`` for the first."""
        log: EventLog = self.built.events
        rows = log.after(after)
        if not rows and wait_s > 0:
            await log.wait(after, wait_s)
            rows = log.after(after)
        return (rows[-1].id if rows else after), [row.event for row in rows]
