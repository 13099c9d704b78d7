"""A topology as a picture: clients and the edge on top, regions as columns, zones as bands inside of them.

::

    [clients] -> [DNS] -> [CDN]          one row
          └── requests, health checks    one bus a row of regions
    ┌ region ─────────┐ ┌ region ───┐
    │ gateway         │ │           │    a bar a group, a pill a node, in the band of its zone
    │ balancer        │ │           │
    │ replicas        │ │           │
    └ a ── b ── c ────┘ └───────────┘
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.model import Group, Link, Node, Role, Topology
from holdfast.report.implications import implications
from holdfast.report.svg import Box, Canvas, fit, wrap
from holdfast.report.words import of_group, of_link, ordinal, probe, seconds, short

WIDTH = 1000
_MARGIN, _GAP, _PAD = 24.0, 20.0, 10.0
_ENTRY = Box(_MARGIN, 76, WIDTH - 2 * _MARGIN, 76)
_BUS, _HEADER, _FOOTER, _HOP = 62.0, 32.0, 22.0, 32.0
_PILL, _BAR_HEAD = 22.0, 24.0
_MOST_PILLS = 5
_BESIDE = (Role.NETWORK, Role.BUCKET)


def graph_svg(topology: Topology) -> str:
    """An SVG document, 1000 pixels wide, for light and dark screens."""
    canvas = Canvas(WIDTH)
    canvas.text((_MARGIN, 34), fit(topology.app.name, 600, "title"), "title")
    canvas.text((_MARGIN, 56), _subtitle(topology), "small")
    entry = _draw_entry(canvas, topology)
    y = _ENTRY.bottom + _BUS
    for frames in _rows(topology, y):
        for region, frame in frames.items():
            _Region(canvas, topology, region, frame).draw()
        y = next(iter(frames.values())).bottom
        _draw_buses(canvas, topology, entry, frames)
    return canvas.render(_draw_words(canvas, topology, y + 34), f"{topology.app.name}: topology")


def _subtitle(topology: Topology) -> str:
    zones = len(topology.zones[topology.regions[0]])
    regions = f"{len(topology.regions)} regions" if len(topology.regions) > 1 else "1 region"
    return f"{topology.domain} · {topology.routing} routing · {regions} of {zones} zones"


def _draw_entry(canvas: Canvas, topology: Topology) -> dict[Role, Box]:
    """Boxes of the global blocks, left to right, from the clients on."""
    groups = [*topology.of_role(Role.DNS), *topology.of_role(Role.CDN)]
    clients = Box(_ENTRY.x, _ENTRY.y, 110, _ENTRY.height)
    canvas.rect(clients, "block")
    canvas.text((clients.middle, clients.y + 42), "clients", "name", anchor="middle")
    boxes: dict[Role, Box] = {}
    before = clients
    for group in groups:
        room = WIDTH - _MARGIN - before.right - 40
        width = 300 if group.role is Role.DNS else room
        box = Box(before.right + 40, _ENTRY.y, width, _ENTRY.height)
        canvas.rect(box, "block")
        canvas.text((box.x + _PAD, box.y + 20), _title(group, topology), "name")
        for i, line in enumerate(_entry_lines(group, topology, width - 2 * _PAD)[:3]):
            canvas.text((box.x + _PAD, box.y + 37 + 15 * i), line, "small")
        canvas.arrow((before.right, box.y + 38), (box.x, box.y + 38))
        boxes[group.role] = before = box
    return boxes


def _title(group: Group, topology: Topology) -> str:
    helpers = topology.of_role(Role.EDGE_FUNCTION) if group.role is Role.CDN else ()
    return " + ".join((group.component, *(helper.component for helper in helpers)))


def _entry_lines(group: Group, topology: Topology, width: float) -> list[str]:
    health = group.behaviour.health
    link = next((link for link in topology.links if link.source == group.id and link.health == health), None)
    words = [*of_group(group), *(of_link(link, topology) if link else ())]
    if health is not None and len(topology.regions) > 1:
        moved = f"{health.detect_min_s:g}..{seconds(health.detect_max_s + (group.behaviour.ttl_s or 0))}"
        words.append(f"clients leave a lost region after {moved}")
    return [line for phrase in words for line in wrap(phrase, width, "small")]


def _rows(topology: Topology, y: float) -> Iterator[dict[str, Box]]:
    """Frames of the regions, up to three beside each other."""
    columns = 2 if len(topology.regions) == 4 else min(len(topology.regions), 3)
    width = (WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    for start in range(0, len(topology.regions), columns):
        row = topology.regions[start : start + columns]
        height = max(_height(topology, region) for region in row)
        yield {r: Box(_MARGIN + i * (width + _GAP), y, width, height) for i, r in enumerate(row)}
        y += height + _BUS


def _height(topology: Topology, region: str) -> float:
    groups = [group for group in topology.groups if group.region == region]
    bars = [_bar_height(group) for group in groups if group.role not in _BESIDE]
    buckets = [group for group in groups if group.role is Role.BUCKET]
    return _HEADER + sum(bars) + _HOP * (len(bars) - 1) + _FOOTER + 2 * _PAD + 34 * len(buckets)


def _bar_height(group: Group) -> float:
    return _BAR_HEAD + (_PILL + 4) * _most(group) + 6


def _most(group: Group) -> int:
    """Rows of pills: the fullest zone's nodes."""
    return min(max(len(_in_zone(group, zone)) for zone in group.zones), _MOST_PILLS)


def _in_zone(group: Group, zone: str) -> list[Node]:
    return [node for node in group.nodes if node.zone == zone]


def _draw_buses(canvas: Canvas, topology: Topology, entry: dict[Role, Box], frames: dict[str, Box]) -> None:
    """Requests from the last block of the edge, health checks from DNS, each on a line of its own."""
    top = next(iter(frames.values())).y
    caller = Role.CDN if Role.CDN in entry else Role.DNS
    for link in topology.links:
        source, target = topology.group(link.source), topology.group(link.target)
        if target.region not in frames or source.role not in entry or target.role in _BESIDE:
            continue
        frame = frames[target.region]
        if source.role is caller:
            x = frame.middle + 40
            canvas.arrow(*_way(entry[caller], x, top, WIDTH - 10, 24))
            canvas.text((x + 8, top - 8), _choice(link, topology), "small")
        if link.health is not None:
            canvas.arrow(*_way(entry[source.role], frame.middle - 40, top, 10, 40), check=True)


def _way(source: Box, x: float, top: float, gutter: float, rise: float) -> list[tuple[float, float]]:
    """Down from ``source``, along a bus ``rise`` above the frames, past further rows in the gutter."""
    start = source.middle + (12 if gutter > WIDTH / 2 else -12)
    first = _ENTRY.bottom + _BUS - rise
    bend = [] if top - rise == first else [(gutter, first), (gutter, top - rise)]
    return [(start, source.bottom), (start, first), *bend, (x, top - rise), (x, top)]


def _choice(link: Link, topology: Topology) -> str:
    if topology.routing == "weighted":
        return f"weight {link.weight}"
    if len(topology.regions) == 1:
        return "requests"
    by_order = topology.routing == "failover" or topology.group(link.source).role is Role.CDN
    return (
        f"{ordinal(topology.regions.index(link.target.partition('.')[2]))} choice" if by_order else "nearest"
    )


@dataclass(frozen=True, slots=True)
class _Region:
    """One region's frame with everything in it."""

    canvas: Canvas
    topology: Topology
    region: str
    frame: Box

    def draw(self) -> None:
        """Bands first, then bars from top to bottom with the links between them."""
        frame, groups = self.frame, [g for g in self.topology.groups if g.region == self.region]
        self.canvas.rect(frame, "region", radius=10)
        self.canvas.text((frame.x + _PAD, frame.y + 21), self.region, "name")
        network = ", ".join(group.component for group in groups if group.role is Role.NETWORK)
        self.canvas.text((frame.right - _PAD, frame.y + 21), network, "small", anchor="end")
        buckets = [group for group in groups if group.role is Role.BUCKET]
        self._bands(frame.height - _HEADER - _PAD - 34 * len(buckets))
        y, before = frame.y + _HEADER + 4, None
        for group in (group for group in groups if group.role not in _BESIDE):
            y = self._hop(before, group, y) if before else y
            y, before = self._bar(group, y), group
        for i, group in enumerate(buckets):
            self._bucket(group, frame.bottom - _PAD - 30 - 34 * i)

    def _zones(self) -> dict[str, Box]:
        names, inner = self.topology.zones[self.region], self.frame.width - 2 * _PAD
        width = (inner - 6 * (len(names) - 1)) / len(names)
        left = self.frame.x + _PAD
        return {name: Box(left + i * (width + 6), 0, width, 0) for i, name in enumerate(names)}

    def _bands(self, height: float) -> None:
        for name, zone in self._zones().items():
            band = Box(zone.x, self.frame.y + _HEADER, zone.width, height)
            self.canvas.rect(band, "zone")
            self.canvas.text(
                (band.middle, band.bottom - 7), fit(name, band.width, "small"), "small", anchor="middle"
            )

    def _bar(self, group: Group, y: float) -> float:
        bar = Box(self.frame.x + _PAD + 4, y, self.frame.width - 2 * _PAD - 8, _bar_height(group))
        self.canvas.rect(bar, "block")
        self.canvas.text((bar.x + 8, y + 16), group.component, "name")
        left = bar.x + 20 + 7.8 * len(group.component)
        words = fit("; ".join(of_group(group)), bar.right - left - 8, "small")
        self.canvas.text((left, y + 16), words, "small")
        for name, zone in self._zones().items():
            self._pills(_in_zone(group, name), Box(zone.x + 10, y + _BAR_HEAD, zone.width - 20, _PILL))
        return bar.bottom

    def _pills(self, nodes: list[Node], first: Box) -> None:
        shown = nodes if len(nodes) <= _MOST_PILLS else nodes[: _MOST_PILLS - 1]
        labels = [(short(node.id), "spot" if node.spot else "node") for node in shown]
        if len(shown) < len(nodes):
            labels.append((f"and {len(nodes) - len(shown)} more", "node"))
        for i, (label, kind) in enumerate(labels):
            pill = Box(first.x, first.y + i * (_PILL + 4), first.width, _PILL)
            self.canvas.rect(pill, kind, radius=11)
            words = fit(label, pill.width - 8, "small")
            self.canvas.text((pill.middle, pill.y + 15), words, "small", anchor="middle")

    def _hop(self, source: Group, target: Group, y: float) -> float:
        link, x = self.topology.link(source.id, target.id), self.frame.middle
        self.canvas.arrow((x, y), (x, y + _HOP))
        words = [f"{seconds(link.timeout_s)} at most"] if link.timeout_s is not None else []
        if words and source.behaviour.request_timeout_s is None:
            words = [f"silent {seconds(link.timeout_s or 0)} at most"]
        words += [probe(link.health)] if link.health is not None else []
        room = self.frame.width / 2 - _PAD - 12
        for i, line in enumerate(words[:2]):
            self.canvas.text(
                (x + 8, y + (20 if len(words) == 1 else 13 + 13 * i)), fit(line, room, "small"), "small"
            )
        return y + _HOP

    def _bucket(self, group: Group, y: float) -> None:
        box = Box(self.frame.x + _PAD, y, self.frame.width - 2 * _PAD, 28)
        self.canvas.rect(box, "block")
        self.canvas.text((box.x + 12, y + 18), group.component, "name")
        self.canvas.text(
            (box.x + 12 + 8 * len(group.component) + 8, y + 18), "the client's files, in no zone", "small"
        )


def _draw_words(canvas: Canvas, topology: Topology, y: float) -> float:
    """The legend and what the numbers mean; gives the height of the picture."""
    canvas.arrow((_MARGIN, y), (_MARGIN + 40, y))
    canvas.text((_MARGIN + 48, y + 4), "requests", "small")
    canvas.arrow((_MARGIN + 130, y), (_MARGIN + 170, y), check=True)
    canvas.text((_MARGIN + 178, y + 4), "health checks", "small")
    y += 34
    before = ""
    for item in implications(topology):
        canvas.text((_MARGIN, y), "" if item.when == before else item.when, "name")
        for line in wrap(item.then, WIDTH - 2 * _MARGIN - 190):
            canvas.text((_MARGIN + 190, y), line)
            y += 18
        y, before = y + 4, item.when
    return y + 12
