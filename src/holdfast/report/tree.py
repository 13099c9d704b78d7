"""A topology as text: what there is, who calls whom, and what the numbers mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.model import Group, Link, Role, Topology
from holdfast.report.implications import implications
from holdfast.report.words import of_group, of_link, short

_NAME_WIDTH = 14


def _columns(name: str, *rest: str) -> str:
    return f"{name:<{_NAME_WIDTH}}  {'  '.join(rest)}".rstrip()


@dataclass(frozen=True, slots=True)
class _Branch:
    text: str
    below: tuple[_Branch, ...] = ()


def tree(topology: Topology) -> str:
    """Several lines, without colour and without a line break at the end."""
    top = _Branch(
        _headline(topology),
        (
            *(_Branch(_group_line(group)) for group in topology.groups if group.region is None),
            *(_region(topology, region) for region in topology.regions),
            _Branch("calls", tuple(_Branch(line) for line in _calls(topology))),
            _Branch("what that means", tuple(_Branch(f"{i.when}: {i.then}") for i in implications(topology))),
            *((_Branch("notes", tuple(map(_Branch, topology.notes))),) if topology.notes else ()),
        ),
    )
    return "\n".join(_lines(top))


def _lines(branch: _Branch, lead: str = "") -> Iterator[str]:
    yield branch.text
    for child in branch.below:
        last = child is branch.below[-1]
        first, *rest = _lines(child, lead)
        yield f"{'└─' if last else '├─'} {first}"
        yield from (f"{'  ' if last else '│ '} {line}" for line in rest)


def _headline(topology: Topology) -> str:
    program = topology.app.target or " ".join(topology.app.command or ())
    return f"{topology.app.name} ({program}) at {topology.domain}, {topology.routing} routing"


def _group_line(group: Group) -> str:
    return _columns(group.component, "; ".join(of_group(group)))


def _region(topology: Topology, region: str) -> _Branch:
    """Regions differ in nothing but their name, so the figures stand at the first one only."""
    groups = [group for group in topology.groups if group.region == region]
    first = region == topology.regions[0]
    figures = tuple(_Branch(_group_line(group)) for group in groups if group.role is not Role.NETWORK)
    weight = f", weight {topology.weights[region]}" if topology.routing == "weighted" else ""
    zones = tuple(_Branch(_zone_line(groups, zone)) for zone in topology.zones[region])
    alike = "" if first else f", otherwise as {topology.regions[0]}"
    return _Branch(f"{region}{weight}{alike}", (*(figures if first else ()), *zones))


def _zone_line(groups: list[Group], zone: str) -> str:
    nodes = [
        short(node.id) + (" (Spot)" if node.spot else "")
        for group in groups
        if group.role is not Role.NETWORK
        for node in group.nodes
        if node.zone == zone
    ]
    return _columns(zone, *nodes)


def _calls(topology: Topology) -> Iterator[str]:
    """Links of the first region, and those that choose between regions, which are told once."""
    told: set[tuple[str, str]] = set()
    for link in topology.links:
        source, target = topology.group(link.source), topology.group(link.target)
        kind = (source.component, target.component)
        if kind not in told:
            told.add(kind)
            way = f"{source.component} to {_target(topology, link, target)}"
            yield f"{way}: {'; '.join(of_link(link, topology))}".removesuffix(": ")


def _target(topology: Topology, link: Link, target: Group) -> str:
    """The target's name, with the regions that a block outside of them chooses from."""
    if target.region is None or topology.group(link.source).region is not None:
        return target.component
    rivals = [
        item
        for item in topology.links
        if (item.source, short(item.target)) == (link.source, short(link.target))
    ]
    ranked = len({item.priority for item in rivals}) > 1
    regions = (
        topology.group(item.target).region or "" for item in sorted(rivals, key=lambda item: item.priority)
    )
    return f"{target.component} in {(', then ' if ranked else ' or ').join(regions)}"
