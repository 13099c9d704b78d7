"""What the declaration implies for a fault, before anything is broken.

Every expectation is arithmetic on ``Behaviour`` and ``Link`` values, so the numbers printed beside the measured
ones are the very numbers the stand-ins run with. The formulas: with a probe every ``I`` seconds and ``n`` failures
needed, a target that *refuses* is out after ``(n-1)I .. nI``, one that *hangs* after ``(n-1)I + timeout .. nI +
timeout``; a DNS answer moves after detection and reaches a caching client up to one TTL later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.model import DeadNode, Group, HealthCheck, Link, Role, Topology

OBSERVATION_S = 1.0
"""How late a measurement may be: the balancer nodes are read twice a second."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One milestone of a fault: when it should be reached, in seconds after the fault, and why.

    ``name`` is the milestone's key (``out_of_balancer``, ``replaced``, ``dns_moved`` ...); ``upper_s`` is ``None``
    where no bound can be stated (a program's own start-up time is not known).
    """

    name: str
    lower_s: float
    upper_s: float | None
    because: str


def node_lost(topology: Topology, group: Group, *, hangs: bool, speed: float) -> tuple[Expectation, ...]:
    """A replica that crashed (``hangs=False``) or stopped answering (``hangs=True``)."""
    link = _link_to(topology, group)
    return (_out_of_balancer(group, link, hangs=hangs), *_replaced(group, link, hangs=hangs, speed=speed))


def zone_lost(topology: Topology, group: Group, *, hangs: bool, speed: float) -> tuple[Expectation, ...]:
    """A zone with its balancer node and its replicas of ``group``; ``hangs``: its network is gone, not its power."""
    check, _ = _dns(topology)
    return (
        _moved("zone_out_of_dns", check, 0.0, "the zone's balancer address leaves the regional DNS name"),
        *node_lost(topology, group, hangs=hangs, speed=speed),
    )


def region_lost(topology: Topology, region: str) -> tuple[Expectation, ...]:
    """Everything in ``region``. Nothing to expect where there is no second region to move to."""
    if len(topology.regions) < 2:
        return ()
    check, ttl_s = _dns(topology)
    moved = _moved("dns_moved", check, 0.0, f"DNS answers with another region than {region}")
    if not topology.of_role(Role.CDN):
        return (moved,)
    return (moved, _moved("edge_moved", check, ttl_s, "the edge asks DNS again when its answer has expired"))


def _moved(name: str, check: HealthCheck, ttl_s: float, text: str) -> Expectation:
    expires = f", then a TTL of {ttl_s:g} s" if ttl_s else ""
    because = (
        f"{text}: {check.unhealthy_threshold} failed checks {check.interval_s:g} s apart, "
        f"up to {check.timeout_s:g} s each{expires}"
    )
    return Expectation(name, check.detect_min_s, check.detect_max_s + ttl_s + OBSERVATION_S, because)


def _link_to(topology: Topology, group: Group) -> Link:
    return next(link for link in topology.links if link.target == group.id)


def _dns(topology: Topology) -> tuple[HealthCheck, float]:
    behaviour = topology.of_role(Role.DNS)[0].behaviour
    if behaviour.health is None:
        raise ValueError("the DNS component states no health check")
    return behaviour.health, behaviour.ttl_s or 0.0


def _out_of_balancer(group: Group, link: Link, *, hangs: bool) -> Expectation:
    if group.behaviour.dead_node is DeadNode.DEREGISTERED and not hangs:
        because = f"{group.component}: the scheduler deregisters a stopped node; no check is needed"
        return Expectation("out_of_balancer", 0.0, OBSERVATION_S, because)
    check = link.health
    if check is None:
        return Expectation(
            "out_of_balancer",
            0.0,
            OBSERVATION_S,
            f"{group.component}: the service routes around it by itself",
        )
    waits = check.timeout_s if hangs else 0.0
    because = f"{check.unhealthy_threshold} failed checks {check.interval_s:g} s apart" + (
        f", each waiting {check.timeout_s:g} s" if hangs else ", refused at once"
    )
    return Expectation(
        "out_of_balancer",
        check.detect_min_s + waits,
        check.unhealthy_threshold * check.interval_s + waits + OBSERVATION_S,
        because,
    )


def _replaced(group: Group, link: Link, *, hangs: bool, speed: float) -> tuple[Expectation, ...]:
    behaviour = group.behaviour
    if group.role is not Role.WORKERS:
        return ()  # functions have no count to return to: environments come with requests
    noticed_s = (behaviour.notice_s or 0.0) / speed
    if hangs or behaviour.dead_node is DeadNode.HEALTH_CHECK:
        # what clients see is never compressed, so neither is the platform's own, slower check of an instance
        out_s = _out_of_balancer(group, link, hangs=hangs).lower_s
        noticed_s = out_s if hangs else min(behaviour.notice_s or 0.0, out_s)
    launch_s = (behaviour.start_s or 0.0) / speed
    speed_note = f" at speed {speed:g}" if speed != 1 else ""
    because = (
        f"{group.component}: noticed after {noticed_s:g} s, launched in {launch_s:g} s{speed_note}, "
        "then the program's own start and its first passed check"
    )
    return (Expectation("replaced", noticed_s + launch_s, None, because),)


def as_json(expectations: tuple[Expectation, ...]) -> list[Mapping[str, object]]:
    """Plain dicts, in order, for ``--json`` and the history."""
    return [
        {"name": e.name, "lower_s": e.lower_s, "upper_s": e.upper_s, "because": e.because}
        for e in expectations
    ]
