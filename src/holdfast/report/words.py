"""Groups and links in a few plain words with units; every rendering of a topology uses the same ones."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.model import Group, HealthCheck, Link, Role, Topology

ORDINALS = ("1st", "2nd", "3rd")


def seconds(value: float) -> str:
    """``5 s``, ``1.5 s``, ``4 ms``."""
    return f"{value * 1000:g} ms" if 0 < value < 0.1 else f"{value:g} s"


def span(low: float, high: float) -> str:
    """``5..12 s``; ``5 s`` where both ends are the same."""
    return seconds(low) if low == high else f"{low:g}..{high:g} s"


def size(octets: int) -> str:
    """``10 MiB``, ``20 KiB``: bytes in the largest unit that leaves a whole number."""
    for unit, factor in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if octets >= factor and octets % factor == 0:
            return f"{octets // factor} {unit}"
    return f"{octets} bytes"


def ordinal(index: int) -> str:
    """``1st`` for 0; regions are few."""
    return ORDINALS[index] if index < len(ORDINALS) else f"{index + 1}th"


def probe(health: HealthCheck) -> str:
    """``checks /health every 5 s``."""
    return f"checks {health.path} every {seconds(health.interval_s)}"


def short(group_or_node: str) -> str:
    """A node's or group's name without its place: ``ecs-1``, ``alb``."""
    return group_or_node.rpartition("/")[2].partition(".")[0]


def of_group(group: Group) -> tuple[str, ...]:
    """What the block does with a request, most telling first."""
    return tuple(_group(group))


def of_link(link: Link, topology: Topology) -> tuple[str, ...]:
    """What the caller of a link does in time."""
    return tuple(_link(link, topology.group(link.source)))


def _group(group: Group) -> Iterator[str]:
    acts = group.behaviour
    if group.role in (Role.WORKERS, Role.FUNCTIONS):
        yield from _compute(group)
        return
    if acts.rate_limit is not None:
        yield f"lets {acts.rate_limit.rate:g} requests/s through, {acts.rate_limit.burst} at once"
    if acts.health is not None and group.role is Role.BALANCER:
        yield f"drops a dead target after {span(acts.health.detect_min_s, acts.health.detect_max_s)}"
    if acts.ttl_s is not None and group.role is Role.DNS:
        yield f"answers are kept {seconds(acts.ttl_s)}"
    if acts.max_payload_bytes is not None:
        yield f"bodies up to {size(acts.max_payload_bytes)}"
    if acts.drain_s is not None:
        yield f"drains {seconds(acts.drain_s)}"
    if group.role is Role.BALANCER and not acts.cross_zone:
        yield "each zone serves itself"


def _compute(group: Group) -> Iterator[str]:
    acts = group.behaviour
    if acts.scale is not None:
        yield f"{acts.scale.minimum}..{acts.scale.maximum} replicas"
    if acts.fleet_concurrency is not None:
        yield f"{acts.fleet_concurrency} requests at once"
    if acts.start_s is not None:
        yield f"starts in {seconds(acts.start_s)}"
    if acts.drain_s is not None:
        yield f"drains {seconds(acts.drain_s)}"
    spot = sum(node.spot for node in group.nodes)
    if spot:
        yield f"{spot} of {len(group.nodes)} on Spot"


def _link(link: Link, source: Group) -> Iterator[str]:
    if link.connect_timeout_s is not None:
        attempts = link.retry.connect_attempts
        yield f"connects within {f'{attempts} x ' if attempts > 1 else ''}{seconds(link.connect_timeout_s)}"
    if link.timeout_s is not None:
        silent = source.behaviour.request_timeout_s is None
        yield f"gives up after {seconds(link.timeout_s)}{' without a byte' if silent else ''}"
    if link.health is not None:
        yield probe(link.health)
    if link.retry.failover_methods:
        statuses = ", ".join(map(str, link.retry.failover_statuses))
        yield f"{', '.join(link.retry.failover_methods)} go on to the next region on {statuses}"
