"""What should follow a fault, from the declaration, and how to see that it has followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.local import expect
from holdfast.local import plan as plans
from holdfast.local.build import Built
from holdfast.local.expect import Expectation
from holdfast.local.links import Links
from holdfast.local.region import Region
from holdfast.local.targets import Kind, Target

Check = Callable[[], bool]
BREAKS = ("kill", "pause", "cut")
"""Operations that something follows; healing and a spot notice are answered by events."""


class Milestones:
    """Made for one running system; ask it before the fault, when everything still has its name."""

    def __init__(self, built: Built, links: Links, speed: float) -> None:
        self._built = built
        self._links = links
        self._speed = speed

    def expected(self, operation: str, target: Target) -> tuple[Expectation, ...]:
        """What the declaration implies for this fault."""
        topology = self._built.plan.topology
        if operation not in BREAKS or target.kind is Kind.LINK:
            return ()
        if target.kind is Kind.REGION:
            return expect.region_lost(topology, target.id)
        group, hangs = self._region(target).group, operation != "kill"
        if target.kind is Kind.ZONE:
            return expect.zone_lost(topology, group, hangs=hangs, speed=self._speed)
        if plans.is_proxy(topology, target.id):
            return ()
        return expect.node_lost(topology, group, hangs=hangs, speed=self._speed)

    def watch(self, target: Target, expected: tuple[Expectation, ...]) -> Mapping[str, Check]:
        """A question for each expected milestone that can be seen from here."""
        checks: dict[str, Check] = {}
        if target.kind is Kind.REGION:
            checks = self._of_region(self._built.regions[target.id])
        elif target.kind is not Kind.LINK:
            checks = self._of_nodes(self._region(target), target)
        if target.kind is Kind.ZONE:
            checks["zone_out_of_dns"] = self._zone_out_of_dns(target.id)
        return {e.name: checks[e.name] for e in expected if e.name in checks}

    def _region(self, target: Target) -> Region:
        return self._built.regions[self._built.plan.region_of(target.id.partition("/")[0])]

    def _of_nodes(self, region: Region, target: Target) -> dict[str, Check]:
        lost = [target.id] if target.kind is Kind.NODE else list(region.workforce.nodes(target.id))

        def forgotten() -> bool:
            known = {row["id"] for row in region.workforce.status()["nodes"]}
            return not known & set(lost)

        return {
            "out_of_balancer": lambda: all(region.balancers.out_everywhere(node) for node in lost),
            "replaced": lambda: forgotten() and region.workforce.settled(),
        }

    def _of_region(self, region: Region) -> dict[str, Check]:
        plan, dns = self._built.plan, self._built.dns
        hosts = {plan.zone_host[zone] for zone in region.zones}

        def edge_moved() -> bool:
            known = set(
                self._links.edge_addresses
            )  # empty until the edge was asked, and while it knows no answer
            return bool(known) and not hosts & known

        return {"dns_moved": lambda: not hosts & set(dns.lookup(plan.api_name)), "edge_moved": edge_moved}

    def _zone_out_of_dns(self, zone: str) -> Check:
        plan, dns = self._built.plan, self._built.dns
        host, name = plan.zone_host[zone], plan.regional_name(plan.region_of(zone))
        return lambda: host not in dns.lookup(name)
