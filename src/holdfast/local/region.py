"""One region of the running system: its zone proxies, its crew, and what may happen to both."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.errors import HoldfastError, InputError, Problem
from holdfast.local import plan as plans
from holdfast.local.balancers import Balancers
from holdfast.local.plan import Plan
from holdfast.local.release import Release
from holdfast.local.supervisor import Supervisor
from holdfast.model import Group


class Workforce(Protocol):
    """What runs the user's program in a region: a crew of replicas, or functions."""

    def start(self) -> None: ...
    async def stop(self) -> None: ...
    def exited(self, node_id: str, reason: str) -> None: ...
    def deploy(self, release: Release) -> None: ...
    def scale(self, desired: int) -> None: ...
    def interrupt(self, node_id: str) -> None: ...
    def lose_zone(self, zone: str) -> None: ...
    def avoid_zone(self, zone: str) -> None: ...
    def restore_zone(self, zone: str) -> None: ...
    def lose_region(self) -> None: ...
    def restore_region(self) -> None: ...
    def nodes(self, zone: str | None = None) -> tuple[str, ...]: ...
    def status(self) -> Mapping[str, Any]: ...
    def serves(self) -> bool: ...
    def settled(self) -> bool: ...
    def deployment(self) -> Mapping[str, Any] | None: ...


@dataclass(slots=True)
class Region:
    """A region's parts by name. ``dark`` zones have lost their power, ``unreachable`` ones
    their network; ``down`` is the loss of the whole region."""

    name: str
    plan: Plan
    supervisor: Supervisor
    balancers: Balancers
    workforce: Workforce
    dark: set[str] = field(default_factory=set)
    unreachable: set[str] = field(default_factory=set)
    down: bool = False

    @property
    def zones(self) -> tuple[str, ...]:
        """Zone names."""
        return self.plan.topology.zones[self.name]

    @property
    def group(self) -> Group:
        """The compute group."""
        return self.plan.topology.compute(self.name)

    def processes(self, zone: str) -> tuple[str, ...]:
        """Names of the processes that stand in ``zone``: its proxy and its replicas."""
        return (plans.proxy_name(zone), *self.workforce.nodes(zone))

    # ------------------------------------------------------------------ power

    def kill_zone(self, zone: str) -> None:
        """The zone loses power: its balancer node and its replicas are gone until :meth:`restore_zone`."""
        self.dark.add(zone)
        self._kill(plans.proxy_name(zone))
        self.workforce.lose_zone(zone)
        self.balancers.share_throttle(len(self.zones) - len(self.dark))

    async def restore_zone(self, zone: str) -> None:
        """The zone has power again; Auto Scaling moves capacity back into it."""
        self.dark.discard(zone)
        await self._start_proxy(zone)
        self.workforce.restore_zone(zone)
        self.balancers.share_throttle(len(self.zones) - len(self.dark))

    def kill(self) -> None:
        """The whole region is lost."""
        self.down = True
        for zone in self.zones:
            self._kill(plans.proxy_name(zone))
        self.workforce.lose_region()

    async def restore(self) -> None:
        """The region is back; its fleet is launched anew."""
        self.down = False
        for zone in self.zones:
            if zone not in self.dark:
                await self._start_proxy(zone)
        self.workforce.restore_region()

    def _kill(self, name: str) -> None:
        with contextlib.suppress(HoldfastError):
            self.supervisor.kill(name, restart=False)

    async def _start_proxy(self, zone: str) -> None:
        spec = plans.zone_process(self.plan, zone)
        await self.supervisor.stop(spec.name)  # returns at once unless the kill is still under way
        await self.supervisor.start(spec)

    # ------------------------------------------------------------------ reach

    def freeze(self, names: tuple[str, ...]) -> None:
        """Stop these processes from answering without ending them."""
        for name in names:
            with contextlib.suppress(HoldfastError):  # it ended a moment ago
                self.supervisor.pause(name)

    def freeze_zone(self, zone: str) -> None:
        """The zone can be reached from nowhere, and nothing can be placed in it."""
        self.unreachable.add(zone)
        self.workforce.avoid_zone(zone)
        self.freeze(self.processes(zone))

    async def resume_zone(self, zone: str) -> None:
        """Heal whatever was done to the zone."""
        if zone in self.dark:
            await self.restore_zone(zone)
        if zone in self.unreachable:
            self.unreachable.discard(zone)
            self.workforce.restore_zone(zone)
        self.thaw(self.processes(zone))

    def thaw(self, names: tuple[str, ...]) -> None:
        """Let frozen processes go on; those that were replaced meanwhile are skipped."""
        for name in names:
            with contextlib.suppress(HoldfastError):
                self.supervisor.resume(name)

    def must_have(self, node_id: str) -> None:
        """Refuse a node that has no process now.

        Raises:
            InputError: it is being launched, or gone.
        """
        if node_id not in self.workforce.nodes():
            raise InputError(
                (Problem(f"{node_id} has no process now"),), hint="`holdfast status` shows its phase"
            )
