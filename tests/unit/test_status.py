"""The table of a running system, as text without colours."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from holdfast.model import Event
from holdfast.report import status
from holdfast.report.status import Live, render

NOW = 1_000_000.0


def node(name: str, phase: str = "serving", **more: Any) -> dict[str, Any]:
    usual = {"healthy": phase == "serving", "release": 3, "spot": False, "since": NOW - 42, "rps": 12.4}
    return {"id": name, "phase": phase, "paused": False, **usual, **more}


def zone(letter: str, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {
        "state": "up",
        "address": f"127.64.1.{ord(letter) - 96}",
        "in_dns": True,
        "rps": 12.4,
        "errors_rps": 0.0,
    }
    return {"name": f"eu-west-1{letter}", "nodes": list(nodes), **usual, **more}


def region(*zones: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {
        "name": "eu-west-1",
        "state": "up",
        "dns_healthy": True,
        "pattern": "ecs",
        "healthy": 2,
        "desired": 3,
    }
    return {"zones": list(zones), "deployment": None, **usual, **more}


def system(*regions: dict[str, Any], state: str = "degraded", **urls: Any) -> dict[str, Any]:
    where = {"gateways": {"eu-west-1": "http://127.64.1.1:9000/"}, "dns": "127.0.0.1:8053", **urls}
    return {"name": "orders", "state": state, "t": NOW, "urls": where, "regions": list(regions)}


BUSY = system(
    region(
        zone("a", node("eu-west-1a/ecs-1"), node("eu-west-1a/ecs-4", "launching", rps=0.0, since=NOW - 1)),
        zone("b", node("eu-west-1b/ecs-2", "draining", spot=True, since=NOW - 3600), errors_rps=2.6),
        zone(
            "c",
            node("eu-west-1c/ecs-3", paused=True, healthy=False, since=NOW - 9000),
            state="unreachable",
            in_dns=False,
        ),
        deployment={"outcome": "in progress", "release": 4},
        dns_healthy=False,
    ),
    edge_http="http://localhost:8080/",
)


def text_of(state: dict[str, Any]) -> str:
    out = io.StringIO()
    render(state, Console(file=out, width=110, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


@pytest.mark.golden
def test_the_table(golden: Callable[[str, str], None]) -> None:
    golden("status.txt", text_of(BUSY))


def test_without_a_cdn_the_first_gateway_is_named() -> None:
    assert "http://127.64.1.1:9000/" in text_of(system(region(), state="ready")).splitlines()[0]


def test_nothing_is_told_by_colour_alone() -> None:
    text = text_of(BUSY)
    assert "○ paused" in text
    assert "● serving" in text
    assert "(spot)" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-0.5, "0 s"), (119.4, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h")]
)
def test_ages_get_coarser(seconds: float, text: str) -> None:
    assert status._age(seconds) == text


def test_the_live_table_shows_the_latest_events_below(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    with Live() as live:
        live.show(BUSY, [Event(NOW, "died", "eu-west-1a/ecs-1", "it died\nof something")])
    shown = capsys.readouterr().out
    assert "it died" in shown
    assert "of something" not in shown, "a line for each event"
    assert "eu-west-1c" in shown
