"""What the numbers of a topology mean: what a client sees when something fails, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.model import DeadNode, Group, Role, Topology
from holdfast.report.words import seconds, short, span


@dataclass(frozen=True, slots=True)
class Implication:
    """One event and what follows from the numbers, as sentences without a full stop."""

    when: str
    then: str


def implications(topology: Topology) -> tuple[Implication, ...]:
    """What follows from ``topology``, from the smallest event up; regions are alike."""
    compute = topology.compute(topology.regions[0])
    if compute.role is Role.WORKERS:
        events = (*_replica(topology, compute), *_zone(compute))
    else:
        events = tuple(_function(compute))
    return (*events, *_request(topology), *_region(topology))


def _balancer(topology: Topology) -> Group | None:
    return next(iter(topology.of_role(Role.BALANCER, region=topology.regions[0])), None)


def _replica(topology: Topology, compute: Group) -> Iterator[Implication]:
    acts, balancer = compute.behaviour, _balancer(topology)
    health = balancer.behaviour.health if balancer else None
    noticed = span(health.detect_min_s, health.detect_max_s) if health else "never: nothing checks it"
    if acts.dead_node is DeadNode.DEREGISTERED:
        gone = "the platform takes it out at once"
    else:
        gone = f"it gets requests for another {noticed}" if health else "it keeps getting requests"
    yield Implication("a replica dies", f"{gone}; {_replacement(compute)}")
    hung = (
        f"out of the balancer after {noticed}" if health else "it keeps getting requests: nothing checks it"
    )
    yield Implication("a replica hangs", hung)
    if acts.drain_s is not None and acts.stop_s is not None:
        stop = f"finishes requests for {seconds(acts.drain_s)}, then SIGTERM, {seconds(acts.stop_s)} later SIGKILL"
        yield Implication("a replica leaves", stop)
    yield from _deploy(compute)
    yield from _scale(compute)


def _replacement(compute: Group) -> str:
    acts = compute.behaviour
    if acts.start_s is None:
        return "AWS gives no figure for its replacement"
    wait = (acts.notice_s or 0) + acts.start_s
    return f"another starts the program {seconds(wait)} later"


def _deploy(compute: Group) -> Iterator[Implication]:
    policy = compute.behaviour.deploy
    if policy is not None:
        failures = policy.breaker_failures(len(compute.nodes))
        kept = f"{policy.minimum_healthy_pct} to {policy.maximum_pct} % of the replicas run"
        starts = "start" if failures == 1 else "starts"
        yield Implication("a deployment", f"{kept}; given up after {failures} failed {starts}")


def _scale(compute: Group) -> Iterator[Implication]:
    policy = compute.behaviour.scale
    if policy is None:
        return
    cpu = f"{policy.cpu_pct:g} % CPU" if policy.cpu_pct is not None else None
    rps = f"{policy.rps_per_node:g} requests/s a replica" if policy.rps_per_node is not None else None
    targets = " or ".join(filter(None, (cpu, rps)))
    if targets:
        yield Implication(
            "load changes",
            f"replicas are added after {seconds(policy.out_after_s)} above {targets}, up to {policy.maximum} a"
            f" region; taken away after {seconds(policy.in_after_s)} below, down to {policy.minimum}",
        )


def _function(compute: Group) -> Iterator[Implication]:
    acts = compute.behaviour
    if acts.start_s is not None:
        yield Implication(
            "no free environment", f"the request waits {seconds(acts.start_s)} or more (cold start)"
        )
    if acts.fleet_concurrency is not None:
        yield Implication(
            "load grows", f"refused above {acts.fleet_concurrency} requests at once in a region"
        )


def _zone(compute: Group) -> Iterator[Implication]:
    counts = {zone: sum(node.zone == zone for node in compute.nodes) for zone in compute.zones}
    left = len(compute.nodes) - max(counts.values(), default=0)
    yield Implication("a zone is lost", f"{left} of {len(compute.nodes)} replicas of its region carry on")


def _request(topology: Topology) -> Iterator[Implication]:
    limits = [
        (link.timeout_s, short(link.source))
        for link in topology.links
        if link.timeout_s is not None and topology.group(link.source).region in (None, topology.regions[0])
    ]
    if limits:
        limit_s, name = min(limits)
        yield Implication("a request is slow", f"the client gets 504 after {seconds(limit_s)}, from {name}")
    for gateway in topology.of_role(Role.GATEWAY, region=topology.regions[0]):
        if gateway.behaviour.rate_limit is not None:
            rate = gateway.behaviour.rate_limit
            yield Implication("clients send too much", f"429 above {rate.rate:g} requests/s in a region")


def _region(topology: Topology) -> Iterator[Implication]:
    if len(topology.regions) == 1:
        yield Implication("a region is lost", "nothing takes over: there is one region")
        return
    for dns in topology.of_role(Role.DNS):
        health, ttl_s = dns.behaviour.health, dns.behaviour.ttl_s or 0
        if health is not None:
            moved = span(health.detect_min_s, health.detect_max_s + ttl_s)
            yield Implication("a region is lost", f"{dns.component} names another one after {moved}")
    for cdn in topology.of_role(Role.CDN):
        acts = cdn.behaviour
        if acts.failover_s is not None and acts.retry.failover_methods:
            methods = ", ".join(acts.retry.failover_methods)
            text = f"{cdn.component} repeats {methods} of cached paths elsewhere after up to {seconds(acts.failover_s)}"
            yield Implication("a region is lost", f"{text}; everything else fails until DNS has moved")
