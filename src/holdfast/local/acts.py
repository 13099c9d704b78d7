"""What can be done to a running system: break it and heal it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from holdfast.errors import InputError, Problem
from holdfast.local import plan as plans
from holdfast.local.build import Built
from holdfast.local.faults import Fault, FaultLog
from holdfast.local.links import Links
from holdfast.local.milestones import Milestones
from holdfast.local.region import Region
from holdfast.local.targets import Kind, Target
from holdfast.model import Event

Act = Callable[[Target], Awaitable[None]]


class Acts:
    """Performs operations on targets and records each as a :class:`Fault` with its milestones."""

    def __init__(self, built: Built, faults: FaultLog, speed: float) -> None:
        self._built = built
        self._faults = faults
        self.links = Links(built)
        self._milestones = Milestones(built, self.links, speed)
        self._table: dict[tuple[str, Kind], Act] = {
            ("kill", Kind.NODE): self._kill_node,
            ("kill", Kind.ZONE): self._kill_zone,
            ("kill", Kind.REGION): self._kill_region,
            ("interrupt", Kind.NODE): self._interrupt,
            ("cut", Kind.LINK): self._cut_link,
            ("resume", Kind.LINK): self._heal_link,
            ("resume", Kind.NODE): self._thaw_node,
            ("resume", Kind.ZONE): self._resume_zone,
            ("resume", Kind.REGION): self._resume_region,
        }
        for operation in ("pause", "cut"):
            self._table[operation, Kind.NODE] = self._freeze_node
            self._table[operation, Kind.ZONE] = self._freeze_zone
            self._table[operation, Kind.REGION] = self._freeze_region

    async def perform(self, operation: str, target: Target) -> Fault:
        """Do it, and remember what should follow.

        Raises:
            InputError: the operation makes no sense for the target.
        """
        act = self._table.get((operation, target.kind))
        if act is None:
            raise InputError((Problem(f"cannot {operation} the {target.kind.value} {target.id}"),))
        expected = self._milestones.expected(operation, target)
        watch = self._milestones.watch(target, expected)
        began = time.time()
        await act(target)
        fault = self._faults.record(operation, target, began, expected)
        fault.watch.update(watch)
        message = f"{operation} {target.kind.value} {target.id}"
        self._built.emit(Event(began, "fault", target.id, message, {"fault": fault.id}))
        return fault

    # ------------------------------------------------------------------ where

    def _region_of(self, target: Target) -> Region:
        if target.kind is Kind.REGION:
            return self._built.regions[target.id]
        return self._built.regions[self._built.plan.region_of(target.id.partition("/")[0])]

    def _process_of(self, node_id: str) -> str:
        """A balancer or gateway node is its zone's proxy."""
        is_proxy = plans.is_proxy(self._built.plan.topology, node_id)
        return plans.proxy_name(node_id.partition("/")[0]) if is_proxy else node_id

    # ------------------------------------------------------------------ lose

    async def _kill_node(self, target: Target) -> None:
        self._built.supervisor.kill(self._process_of(target.id))

    async def _kill_zone(self, target: Target) -> None:
        self._region_of(target).kill_zone(target.id)

    async def _kill_region(self, target: Target) -> None:
        self._region_of(target).kill()

    async def _interrupt(self, target: Target) -> None:
        region = self._region_of(target)
        region.must_have(target.id)
        rows = {row["id"]: row for row in region.workforce.status()["nodes"]}
        if not rows[target.id]["spot"]:
            raise InputError(
                (Problem(f"{target.id} is not on spot capacity"),),
                hint="[compute] spot = 0.5 puts half of them on it",
            )
        region.workforce.interrupt(target.id)

    # ------------------------------------------------------------------ reach

    async def _freeze_node(self, target: Target) -> None:
        """Nothing in, nothing out: on one machine a frozen process is as unreachable as one behind a cut cable."""
        self._region_of(target).freeze((self._process_of(target.id),))

    async def _freeze_zone(self, target: Target) -> None:
        self._region_of(target).freeze_zone(target.id)

    async def _freeze_region(self, target: Target) -> None:
        region = self._region_of(target)
        for zone in region.zones:
            region.freeze_zone(zone)

    async def _thaw_node(self, target: Target) -> None:
        self._region_of(target).thaw((self._process_of(target.id),))

    async def _resume_zone(self, target: Target) -> None:
        await self._region_of(target).resume_zone(target.id)

    async def _resume_region(self, target: Target) -> None:
        region = self._region_of(target)
        if region.down:
            await region.restore()
        for zone in region.zones:
            await region.resume_zone(zone)

    async def _cut_link(self, target: Target) -> None:
        self.links.apply(target.id, cut=True)

    async def _heal_link(self, target: Target) -> None:
        self.links.apply(target.id, cut=False)
