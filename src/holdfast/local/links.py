"""Links of the running system: which are cut, and what the edge has to know about it."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from holdfast.errors import InputError, Problem
from holdfast.local import plan as plans
from holdfast.local.build import Built
from holdfast.local.envoy import edge as edges
from holdfast.local.envoy import xds
from holdfast.local.envoy.admin import Admin, ProxyGone
from holdfast.local.envoy.edge import State
from holdfast.local.envoy.edge.origins import API
from holdfast.model import Link, Role


class Links:
    """Cuts and heals links at the caller's end: the edge, the health checkers, or the replicas behind a balancer."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self._edge_state = State()
        self._admin = Admin(built.plan.edge.admin_socket) if built.plan.edge else None
        self.cut: frozenset[str] = frozenset()
        self.edge_addresses: tuple[str, ...] = ()

    def apply(self, link_id: str, *, cut: bool) -> None:
        """Cut a link, or heal it.

        Raises:
            InputError: both ends are one process on this machine, so there is nothing to cut.
        """
        topology = self._built.plan.topology
        link = next(link for link in topology.links if link.id == link_id)
        after = self.cut | {link_id} if cut else self.cut - {link_id}
        source, target = topology.group(link.source), topology.group(link.target)
        if source.role is Role.CDN and target.role in plans.DOOR_ROLES:
            self._apply_edge(link, after)
        elif source.role is Role.DNS and target.region:
            check = plans.region_check(target.region)
            (self._built.checks.cut if cut else self._built.checks.heal)(check)
        elif target.role in (Role.WORKERS, Role.FUNCTIONS) and target.region:
            region = self._built.regions[target.region]
            (region.freeze if cut else region.thaw)(region.workforce.nodes())
        else:
            raise InputError(
                (Problem(f"{link_id} cannot be cut on this machine"),),
                hint="docs/fidelity.md says which blocks share a process here; cut a zone or a region instead",
            )
        self.cut = after

    def _apply_edge(self, link: Link, cut: frozenset[str]) -> None:
        topology = self._built.plan.topology
        ends = [
            topology.group(other.target)
            for other in topology.links
            if other.source == link.source and other.id in cut
        ]
        regions = frozenset(end.region for end in ends if end.region)
        self._push(replace(self._edge_state, cut_regions=regions, answering=self._answering()))

    def _push(self, state: State) -> None:
        edge = self._built.plan.edge
        if edge is not None and state != self._edge_state:
            xds.write(self._built.plan.edge_folder, edges.update(edge, state))
            self._edge_state = state

    def invalidate(self) -> None:
        """Serve nothing from the edge's cache that was stored until now."""
        self._push(edges.invalidated(self._edge_state))

    async def look_at_edge(self) -> None:
        """Read which addresses the edge sends API requests to."""
        if self._admin is not None:
            with contextlib.suppress(ProxyGone):
                self.edge_addresses = await self._admin.addresses(API)

    def follow_dns(self) -> None:
        """While a link of the edge is cut, the edge must know which region its origin's name means now."""
        if self._edge_state.cut_regions:
            self._push(replace(self._edge_state, answering=self._answering()))

    def _answering(self) -> str | None:
        values = self._built.dns.lookup(self._built.plan.api_name)
        zones = {host: zone for zone, host in self._built.plan.zone_host.items()}
        return self._built.plan.region_of(zones[values[0]]) if values else None

    async def close(self) -> None:
        """End the connection to the edge."""
        if self._admin is not None:
            await self._admin.close()
