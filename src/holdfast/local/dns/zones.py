"""Building a :class:`HostedZone`: every record set checked as ``ChangeResourceRecordSets`` would."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from holdfast.errors import InputError, Problem
from holdfast.local.dns.zone import Alias, HostedZone, Record, Routing, canonical, within

MAX_WEIGHT = 255
"""https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-values-weighted.html"""
MAX_NAME = 253
MAX_LABEL = 63


def hosted(name: str, records: Iterable[Record], *, serial: int = 1) -> HostedZone:
    """A zone of these records.

    Raises:
        InputError: all problems at once, such as two simple records of one name.
    """
    zone = canonical(name)
    groups: dict[str, tuple[Record, ...]] = defaultdict(tuple)
    for record in map(_canonical, records):
        groups[record.name] = (*groups[record.name], record)
    problems = tuple(_problems(zone, groups))
    if problems:
        raise InputError(problems, hint="Route 53 would refuse this change batch")
    return HostedZone(zone, MappingProxyType(dict(groups)), frozenset(_names(zone, groups)), serial)


def _canonical(record: Record) -> Record:
    alias = record.alias and Alias(canonical(record.alias.target), record.alias.evaluate_target_health)
    return replace(record, name=canonical(record.name), alias=alias)


def _names(zone: str, names: Iterable[str]) -> Iterator[str]:
    yield zone
    for name in names:
        while name != zone:
            yield name
            name = name.partition(".")[2]


def _problems(zone: str, groups: Mapping[str, tuple[Record, ...]]) -> Iterator[Problem]:
    yield from _bad_name(zone)
    for name, group in groups.items():
        yield from _bad_name(name)
        if not within(name, zone):
            yield Problem(f"{name} is not in the hosted zone {zone}")
        for record in group:
            yield from _bad_record(record, groups)
        yield from _bad_group(name, group)
        if _loops(name, groups):
            yield Problem(f"{name} is an alias that leads back to itself")


def _bad_name(name: str) -> Iterator[Problem]:
    labels = name.split(".")
    if len(name) > MAX_NAME or not all(0 < len(label) <= MAX_LABEL for label in labels) or not name.isascii():
        yield Problem(f"{name!r} is not a domain name", hint="labels of 1 to 63 ASCII characters, 253 in all")


def _bad_record(record: Record, groups: Mapping[str, tuple[Record, ...]]) -> Iterator[Problem]:
    where = f"{record.name} {record.set_identifier}".strip()
    if bool(record.values) == bool(record.alias):
        yield Problem(f"{where}: needs either values or an alias target")
    if record.alias and record.alias.target not in groups:
        yield Problem(f"{where}: the alias target {record.alias.target} is not in the zone")
    if record.alias and record.routing is Routing.MULTIVALUE:
        yield Problem(f"{where}: a multivalue answer record cannot be an alias")
    if record.routing is Routing.WEIGHTED and not 0 <= record.weight <= MAX_WEIGHT:
        yield Problem(f"{where}: weight {record.weight} is not between 0 and {MAX_WEIGHT}")
    if record.routing is Routing.LATENCY and not record.region:
        yield Problem(f"{where}: latency routing needs a region")
    if not 0 <= record.ttl_s < 2**31:
        yield Problem(f"{where}: TTL {record.ttl_s} s is out of range")
    for value in record.values:
        if not _is_ipv4(value):
            yield Problem(f"{where}: {value!r} is not an IPv4 address")


def _bad_group(name: str, group: tuple[Record, ...]) -> Iterator[Problem]:
    routing = group[0].routing
    if any(record.routing is not routing for record in group):
        yield Problem(f"{name} mixes routing policies")
    identifiers = [record.set_identifier for record in group]
    if routing is Routing.SIMPLE and len(group) > 1:
        yield Problem(f"{name} has {len(group)} simple records", hint="put all addresses into one record")
    elif routing is not Routing.SIMPLE and (len(set(identifiers)) < len(group) or "" in identifiers):
        yield Problem(f"{name}: each record needs its own set_identifier")
    regions = [record.region for record in group]
    if routing is Routing.LATENCY and len(set(regions)) < len(group):
        yield Problem(f"{name} has two latency records for one region")
    primaries = sum(record.primary for record in group)
    if routing is Routing.FAILOVER and (primaries != 1 or len(group) > 2):
        yield Problem(f"{name}: failover routing takes one primary and at most one secondary record")


def _loops(name: str, groups: Mapping[str, tuple[Record, ...]]) -> bool:
    seen, front = set[str](), {name}
    while front:
        targets = {r.alias.target for at in front for r in groups.get(at, ()) if r.alias}
        if name in targets:
            return True
        front = targets - seen
        seen |= targets
    return False


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
