"""The table of a running system, on a terminal: once, or live."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from holdfast.model import Event

Json = Mapping[str, Any]

STATE = {"up": "green", "ready": "green", "degraded": "yellow", "unreachable": "red", "down": "red"}
PHASE = {
    "serving": "green",
    "launching": "cyan",
    "starting": "cyan",
    "draining": "yellow",
    "stopping": "yellow",
    "lost": "red",
}
MARK = {True: "●", False: "○"}
"""Healthy or not; the shapes differ, so that the colours are not needed to tell them apart."""


class Live:
    """A table that redraws itself; use as a context manager and call :meth:`show`."""

    def __init__(self) -> None:
        self._live = RichLive(console=Console(), auto_refresh=False, transient=False)

    def __enter__(self) -> Live:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, status: Json, events: Iterable[Event]) -> None:
        """Draw this state, with the latest events below it."""
        lines = [
            Text(
                f"{time.strftime('%H:%M:%S', time.localtime(e.t))}  {e.message.splitlines()[0]}", style="dim"
            )
            for e in events
        ]
        self._live.update(Group(table(status), *lines), refresh=True)


def render(status: Json, console: Console | None = None) -> None:
    """Print one state."""
    (console or Console()).print(table(status))


def table(status: Json) -> RenderableType:
    """Regions, zones and nodes as rows."""
    view = Table(title=_title(status), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name, right in (
        ("region", False),
        ("zone", False),
        ("node", False),
        ("state", False),
        ("release", True),
        ("rps", True),
        ("since", True),
    ):
        view.add_column(name, justify="right" if right else "left", no_wrap=True)
    for region in status["regions"]:
        _region_rows(view, region, status["t"])
    return view


def _title(status: Json) -> Text:
    urls = status["urls"]
    where = urls.get("edge_http") or next(iter(urls["gateways"].values()))
    text = Text(f"{status['name']}  ", style="bold").append(
        status["state"], style=STATE.get(status["state"], "")
    )
    return text.append("  ").append(f"{where}  dns {urls['dns']}", style="dim")


def _region_rows(view: Table, region: Json, now: float) -> None:
    answers = "in DNS" if region["dns_healthy"] else "out of DNS"
    state = (
        Text(region["state"], style=STATE.get(region["state"], "")).append("  ").append(answers, style="dim")
    )
    counts = f"{region['healthy']}/{region['desired']} healthy"
    total = sum(zone["rps"] for zone in region["zones"])
    view.add_row(Text(region["name"], style="bold"), counts, region["pattern"], state, "", f"{total:.0f}", "")
    if deployment := region.get("deployment"):
        view.add_row(
            "", "", "", Text(f"deployment {deployment['outcome']}", style="cyan"), str(deployment["release"])
        )
    for zone in region["zones"]:
        _zone_rows(view, zone, now)


def _zone_rows(view: Table, zone: Json, now: float) -> None:
    state = Text(zone["state"], style=STATE.get(zone["state"], ""))
    if not zone["in_dns"]:
        state.append("  ").append("out of DNS", style="dim")
    errors = f" ({zone['errors_rps']:.0f} failed)" if zone["errors_rps"] else ""
    view.add_row("", zone["name"], zone["address"], state, "", f"{zone['rps']:.0f}{errors}", "")
    for node in zone["nodes"]:
        name = node["id"].partition("/")[2] + (" (spot)" if node["spot"] else "")
        phase = "paused" if node["paused"] else node["phase"]
        mark = Text(f"{MARK[node['healthy']]} {phase}", style=PHASE.get(phase, "red"))
        view.add_row(
            "", "", name, mark, str(node["release"]), f"{node['rps']:.0f}", _age(now - node["since"])
        )


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
