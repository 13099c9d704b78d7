"""What can be done to a running system: break it and heal it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from holdfast.errors import InputError, Problem
from holdfast.local import expect
from holdfast.local import plan as plans
from holdfast.local.build import Built
from holdfast.local.envoy import edge as edges
from holdfast.local.envoy import xds
from holdfast.local.envoy.admin import Admin, ProxyGone
from holdfast.local.envoy.edge import State
from holdfast.local.envoy.edge.origins import API
from holdfast.local.expect import Expectation
from holdfast.local.faults import Fault, FaultLog
from holdfast.local.region import Region
from holdfast.local.targets import Kind, Target
from holdfast.model import Event, Role

Act = Callable[[Target], Awaitable[None]]


class Acts:
    """Performs operations on targets and records each as a :class:`Fault` with its milestones."""

    def __init__(self, built: Built, faults: FaultLog, speed: float) -> None:
        self._built = built
        self._faults = faults
        self._speed = speed
        self._cut: set[str] = set()
        self._edge_state = State()
        self._edge_admin = Admin(built.plan.edge.admin_socket) if built.plan.edge else None
        self.edge_addresses: tuple[str, ...] = ()
        self._table: dict[tuple[str, Kind], Act] = {
            ("kill", Kind.NODE): self._kill_node,
            ("kill", Kind.ZONE): self._kill_zone,
            ("kill", Kind.REGION): self._kill_region,
            ("interrupt", Kind.NODE): self._interrupt,
            ("cut", Kind.LINK): self._cut_link,
            ("resume", Kind.LINK): self._heal_link,
            ("resume", Kind.ZONE): self._resume_zone,
            ("resume", Kind.REGION): self._resume_region,
            ("resume", Kind.NODE): self._thaw,
        }
        for operation in ("pause", "cut"):
            for kind in (Kind.NODE, Kind.ZONE, Kind.REGION):
                self._table[operation, kind] = self._freeze

    async def perform(self, operation: str, target: Target) -> Fault:
        """Do it, and remember what should follow.

        Raises:
            InputError: the operation makes no sense for the target.
        """
        act = self._table.get((operation, target.kind))
        if act is None:
            raise InputError((Problem(f"cannot {operation} the {target.kind.value} {target.id}"),))
        expected = self._expected(operation, target)
        began = time.time()
        await act(target)
        fault = self._faults.record(operation, target, began, expected)
        fault.watch.update(self._watch(fault))
        self._built.emit(
            Event(
                began, "fault", target.id, f"{operation} {target.kind.value} {target.id}", {"fault": fault.id}
            )
        )
        return fault

    # ------------------------------------------------------------------ where

    def _region_of(self, target: Target) -> Region:
        if target.kind is Kind.REGION:
            return self._built.regions[target.id]
        zone = target.id.partition("/")[0]
        return self._built.regions[self._built.plan.region_of(zone)]

    def _is_proxy(self, node_id: str) -> bool:
        roles = plans.PROXY_ROLES
        groups = self._built.plan.topology.of_role(*roles)
        return any(node.id == node_id for group in groups for node in group.nodes)

    def _processes(self, target: Target) -> tuple[str, ...]:
        region = self._region_of(target)
        match target.kind:
            case Kind.REGION:
                return tuple(name for zone in region.zones for name in region.processes(zone))
            case Kind.ZONE:
                return region.processes(target.id)
            case _:
                return (self._process_of(target.id),)

    def _process_of(self, node_id: str) -> str:
        return plans.proxy_name(node_id.partition("/")[0]) if self._is_proxy(node_id) else node_id

    # ------------------------------------------------------------------ operations

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

    async def _freeze(self, target: Target) -> None:
        """Nothing in, nothing out: on one machine a frozen process is as unreachable as one behind a cut cable."""
        self._region_of(target).freeze(self._processes(target))

    async def _thaw(self, target: Target) -> None:
        self._region_of(target).thaw(self._processes(target))

    async def _resume_zone(self, target: Target) -> None:
        region = self._region_of(target)
        if target.id in region.dark:
            await region.restore_zone(target.id)
        await self._thaw(target)

    async def _resume_region(self, target: Target) -> None:
        region = self._region_of(target)
        if region.down:
            await region.restore()
        for zone in tuple(region.dark):
            await region.restore_zone(zone)
        await self._thaw(target)

    # ------------------------------------------------------------------ links

    async def _cut_link(self, target: Target) -> None:
        self._cut.add(target.id)
        self._apply_link(target.id, cut=True)

    async def _heal_link(self, target: Target) -> None:
        self._cut.discard(target.id)
        self._apply_link(target.id, cut=False)

    def _apply_link(self, link_id: str, *, cut: bool) -> None:
        """Cut at the caller's end: the edge's origin, the health checkers, or the replicas behind a balancer."""
        topology = self._built.plan.topology
        link = next(link for link in topology.links if link.id == link_id)
        source, target = topology.group(link.source), topology.group(link.target)
        region = target.region
        if source.role is Role.CDN and region:
            ends = (
                topology.group(i.partition(":")[2]).region for i in self._cut if i.startswith(f"{source.id}:")
            )
            self._push_edge(replace(self._edge_state, cut_regions=frozenset(name for name in ends if name)))
        elif source.role is Role.DNS and region:
            check = plans.region_check(region)
            (self._built.checks.cut if cut else self._built.checks.heal)(check)
        elif target.role in (Role.WORKERS, Role.FUNCTIONS) and region:
            parts = self._built.regions[region]
            (parts.freeze if cut else parts.thaw)(parts.workforce.nodes())
        else:
            raise InputError(
                (Problem(f"{link_id} cannot be cut on this machine: both ends are one process"),),
                hint="`holdfast check` lists the links; docs/fidelity.md says which are merged",
            )

    def _push_edge(self, state: State) -> None:
        edge = self._built.plan.edge
        if edge is not None and state != self._edge_state:
            self._edge_state = state
            xds.write(self._built.plan.edge_folder, edges.update(edge, state))

    def invalidate(self) -> None:
        """Serve nothing from the edge's cache that was stored until now."""
        self._push_edge(edges.invalidated(self._edge_state))

    async def look_at_edge(self) -> None:
        """Read which addresses the edge sends API requests to."""
        if self._edge_admin is not None:
            with contextlib.suppress(ProxyGone):
                self.edge_addresses = await self._edge_admin.addresses(API)

    async def close(self) -> None:
        """End the connection to the edge."""
        if self._edge_admin is not None:
            await self._edge_admin.close()

    def follow_dns(self) -> None:
        """While a link of the edge is cut, the edge must know which region its origin's name means now."""
        if self._edge_state.cut_regions:
            self._push_edge(replace(self._edge_state, answering=self._answering()))

    def _answering(self) -> str | None:
        values = self._built.dns.lookup(self._built.plan.api_name)
        zones = {host: zone for zone, host in self._built.plan.zone_host.items()}
        return self._built.plan.region_of(zones[values[0]]) if values else None

    @property
    def cut_links(self) -> tuple[str, ...]:
        """Ids of the links that are cut now."""
        return tuple(sorted(self._cut))

    # ------------------------------------------------------------------ what should follow

    def _expected(self, operation: str, target: Target) -> tuple[Expectation, ...]:
        topology = self._built.plan.topology
        hangs = operation in ("pause", "cut")
        if operation == "resume" or operation == "interrupt" or target.kind is Kind.LINK:
            return ()
        if target.kind is Kind.REGION:
            return expect.region_lost(topology, target.id)
        group = self._region_of(target).group
        if target.kind is Kind.ZONE:
            return expect.zone_lost(topology, group, speed=self._speed)
        if self._is_proxy(target.id):
            return ()
        return expect.node_lost(topology, group, hangs=hangs, speed=self._speed)

    def _watch(self, fault: Fault) -> dict[str, Callable[[], bool]]:
        """How to see each expected milestone."""
        target = fault.target
        names = {expectation.name for expectation in fault.expected}
        watch: dict[str, Callable[[], bool]] = {}
        if not names:
            return watch
        region = self._region_of(target)
        if target.kind in (Kind.NODE, Kind.ZONE):
            before = set(region.workforce.nodes())
            lost = (
                [target.id]
                if target.kind is Kind.NODE
                else [n for n in before if n.startswith(f"{target.id}/")]
            )
            watch["out_of_balancer"] = lambda: all(region.balancers.out_everywhere(node) for node in lost)
            watch["replaced"] = lambda: self._out(region, lost) and region.workforce.settled()
        answer = self._built.dns
        if target.kind is Kind.ZONE:
            host, name = self._built.plan.zone_host[target.id], self._built.plan.regional_name(region.name)
            watch["zone_out_of_dns"] = lambda: host not in answer.lookup(name)
        if target.kind is Kind.REGION:
            hosts = {self._built.plan.zone_host[zone] for zone in region.zones}
            watch["dns_moved"] = lambda: not hosts & set(answer.lookup(self._built.plan.api_name))
            watch["edge_moved"] = lambda: not hosts & set(self.edge_addresses)
        return {name: check for name, check in watch.items() if name in names}

    @staticmethod
    def _out(region: Region, lost: list[str]) -> bool:
        rows = {row["id"]: row for row in region.workforce.status()["nodes"]}
        return not any(node in rows for node in lost)
