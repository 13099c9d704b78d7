"""A hosted zone as values, and what Route 53 would answer from it.

Pure: health comes in as a function, chance as a random generator, so every decision can be replayed.

The rules are those of the Route 53 Developer Guide:

- choosing records by health: .../DeveloperGuide/health-checks-how-route-53-chooses-records.html
- alias trees: .../DeveloperGuide/dns-failover-complex-configs.html
- routing policies: .../DeveloperGuide/routing-policy.html

(``...`` is https://docs.aws.amazon.com/Route53/latest; each rule below names its page where it is applied.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from holdfast.local.dns.distance import nearest_first

Healthy = Callable[[str], bool]
"""Says whether the health check with this id counts as healthy."""

MULTIVALUE_LIMIT = 8
"""Route 53 answers with up to eight healthy records (.../DeveloperGuide/routing-policy-multivalue.html)."""


class Routing(StrEnum):
    """Route 53's routing policies that Holdfast uses."""

    SIMPLE = "simple"
    FAILOVER = "failover"
    LATENCY = "latency"
    WEIGHTED = "weighted"
    MULTIVALUE = "multivalue"


@dataclass(frozen=True, slots=True)
class Alias:
    """Answers with the records of another name in the same zone."""

    target: str
    evaluate_target_health: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """One A record set. Either ``values`` (IPv4 addresses) or ``alias``; an alias takes its target's TTL.

    ``primary`` is for failover, ``region`` for latency and ``weight`` (0 to 255) for weighted routing.
    """

    name: str
    values: tuple[str, ...] = ()
    ttl_s: int = 60
    routing: Routing = Routing.SIMPLE
    set_identifier: str = ""
    health_check: str | None = None
    alias: Alias | None = None
    primary: bool = True
    region: str | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class HostedZone:
    """All records below ``name``; ``groups`` maps each name to its record sets. Made by ``zones.hosted``."""

    name: str
    groups: Mapping[str, tuple[Record, ...]]
    names: frozenset[str]
    """Every name that exists, also those that exist only because something lies below them (RFC 8020)."""
    serial: int = 1


class Status(StrEnum):
    """What kind of answer a question gets. NODATA: the name exists, but not with that type."""

    ANSWER = "NOERROR"
    AUTHORITY = "SOA"
    NODATA = "NODATA"
    NXDOMAIN = "NXDOMAIN"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Query:
    """A question. ``viewer_region`` is where it comes from, as far as that is known."""

    name: str
    qtype: str = "A"
    viewer_region: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back: ``values`` in the order they are sent, valid for ``ttl_s``."""

    status: Status
    values: tuple[str, ...] = ()
    ttl_s: int = 0


@dataclass(frozen=True, slots=True)
class Option:
    """One of the answers a routing policy may give, with its share of the queries."""

    share: float
    values: tuple[str, ...]
    ttl_s: int
    limit: int

    def draw(self, rng: random.Random) -> Answer:
        """The values in random order, as .../DeveloperGuide/routing-policy-simple.html says."""
        if len(self.values) == 1:
            return Answer(Status.ANSWER, self.values, self.ttl_s)
        count = min(self.limit, len(self.values))
        return Answer(Status.ANSWER, tuple(rng.sample(self.values, count)), self.ttl_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that may be answered to one question while health stays as it is."""

    status: Status
    options: tuple[Option, ...] = ()
    cumulative: tuple[float, ...] = ()

    def draw(self, rng: random.Random) -> Answer:
        """One answer, drawn with the options' shares."""
        if not self.options:
            return Answer(self.status)
        if len(self.options) == 1:
            return self.options[0].draw(rng)
        return rng.choices(self.options, cum_weights=self.cumulative)[0].draw(rng)


def answer(zone: HostedZone, query: Query, healthy: Healthy, rng: random.Random) -> Answer:
    """One answer to ``query``."""
    return decide(zone, query, healthy).draw(rng)


def decide(zone: HostedZone, query: Query, healthy: Healthy) -> Outcome:
    """All possible answers to ``query`` with their shares of the queries."""
    name = canonical(query.name)
    if not within(name, zone.name):
        return Outcome(Status.REFUSED)
    if name not in zone.names:
        return Outcome(Status.NXDOMAIN)
    if query.qtype == "SOA" and name == zone.name:
        return Outcome(Status.AUTHORITY)
    if query.qtype not in ("A", "ANY") or name not in zone.groups:
        return Outcome(Status.NODATA)
    options = tuple(_Decision(zone.groups, healthy, query.viewer_region).options(name))
    return Outcome(Status.ANSWER, options, tuple(accumulate(option.share for option in options)))


def canonical(name: str) -> str:
    """Lower case, without the dot at the end."""
    return name.lower().rstrip(".")


def within(name: str, zone: str) -> bool:
    """Whether ``name`` is ``zone`` or lies below it; both canonical."""
    return name == zone or name.endswith("." + zone)


@dataclass(frozen=True, slots=True)
class _Decision:
    """One walk through the tree of records."""

    groups: Mapping[str, tuple[Record, ...]]
    healthy: Healthy
    viewer: str | None

    def options(self, name: str) -> Iterable[Option]:
        """What a group answers. "If no record is healthy, all records are healthy"."""
        group = self.groups[name]
        usable = tuple(record for record in group if self.usable(record)) or group
        if group[0].routing is Routing.MULTIVALUE:
            values = tuple(value for record in usable for value in record.values)
            return [Option(1.0, values, usable[0].ttl_s, MULTIVALUE_LIMIT)]
        return [option for share, record in self._chosen(usable) for option in self._answers(share, record)]

    def usable(self, record: Record) -> bool:
        """Both its own health check and, where evaluated, its alias target must be healthy.

        .../DeveloperGuide/dns-failover-complex-configs.html#dns-failover-complex-configs-hc-alias; a record
        without either is always healthy.
        """
        if record.health_check is not None and not self.healthy(record.health_check):
            return False
        if record.alias is None or not record.alias.evaluate_target_health:
            return True
        return any(self.usable(target) for target in self.groups[record.alias.target])

    def _answers(self, share: float, record: Record) -> Iterable[Option]:
        if record.alias is None:
            return [Option(share, record.values, record.ttl_s, len(record.values))]
        below = self.options(record.alias.target)
        return [Option(share * option.share, option.values, option.ttl_s, option.limit) for option in below]

    def _chosen(self, usable: tuple[Record, ...]) -> Iterable[tuple[float, Record]]:
        match usable[0].routing:
            case Routing.WEIGHTED:
                return _weighted(usable)
            case Routing.LATENCY:
                return [(1.0, self._nearest(usable))]
            case Routing.FAILOVER:
                return [(1.0, next((record for record in usable if record.primary), usable[0]))]
            case _:
                return [(1.0, usable[0])]

    def _nearest(self, usable: tuple[Record, ...]) -> Record:
        by_region = {record.region or "": record for record in usable}
        return by_region[nearest_first(self.viewer, tuple(by_region))[0]]


def _weighted(usable: tuple[Record, ...]) -> Iterable[tuple[float, Record]]:
    """Shares by weight. Zero weights count only when no record with a weight is left, then all alike.

    .../DeveloperGuide/resource-record-sets-values-weighted.html, and "Weighted records that have a weight of
    0" on the page about choosing records.
    """
    heavy = [record for record in usable if record.weight > 0]
    total = sum(record.weight for record in heavy)
    if heavy:
        return [(record.weight / total, record) for record in heavy]
    return [(1 / len(usable), record) for record in usable]
