"""Capacity that comes and goes under load: Spot is taken back, target tracking scales out and in again."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.live.system_rig import Running, load, up

pytestmark = pytest.mark.live

PROGRAM = """
import json
import os
import time


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/burn":
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
    body = json.dumps({"node": os.environ["HOLDFAST_NODE"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
MOST = 9


@contextmanager
def region(folder: Path, compute: str, *options: str) -> Iterator[Running]:
    """One region of three zones, three replicas at least."""
    (folder / "program.py").write_text(PROGRAM)
    (folder / "holdfast.toml").write_text(
        f"""
[service]
name = "capacity"
app = "program:app"
[regions]
names = ["eu-west-1"]
[compute]
replicas = {{ min = 3, max = {MOST} }}
{compute}
"""
    )
    with up(folder, *options) as running:
        yield running


def nodes(status: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for zone in status["regions"][0]["zones"] for node in zone["nodes"]]


def settled_at(count: int) -> Callable[[dict[str, Any]], bool]:
    """Exactly ``count`` replicas, all of them in service."""

    def condition(status: dict[str, Any]) -> bool:
        return [node["healthy"] and node["phase"] == "serving" for node in nodes(status)] == [True] * count

    return condition


async def until(system: Running, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return await asyncio.to_thread(system.until, condition)


def events(system: Running, kind: str) -> list[dict[str, Any]]:
    lines = system.run("logs", "--events", "--json", "-n", "1000").stdout.splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


async def test_a_spot_interruption_costs_no_request(tmp_path: Path) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html"""
    with region(tmp_path, "spot = 0.34", "--speed", "60") as system:
        before = {node["id"]: node for node in system.nodes()}
        (victim,) = (node["id"] for node in before.values() if node["spot"])
        async with load(system.urls["edge_http"] + "where", rate=150) as seen:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(system.run, "interrupt", victim)
            interrupted = time.time()
            status = await asyncio.to_thread(system.status)
            assert {n["phase"] for n in nodes(status) if n["id"] == victim} <= {"draining", "stopping"}
            gone = settled_at(3)
            status = await until(system, lambda s: gone(s) and victim not in {n["id"] for n in nodes(s)})
            await asyncio.sleep(0.5)
        (notice,) = events(system, "spot-notice")
        assert notice["subject"] == victim
        assert time.time() - notice["t"] < 120, "Spot gives two minutes"
        assert not seen.failures
        assert victim not in seen.since(interrupted + 0.5).served_by
        assert [node["spot"] for node in nodes(status)].count(True) == 1, "its replacement is Spot again"
        refused = system.run(
            "interrupt", next(n for n, row in before.items() if not row["spot"]), check=False
        )
        assert refused.returncode == 2
        assert "is not on spot capacity" in refused.stderr


async def test_requests_scale_out_over_the_zones_and_in_again(tmp_path: Path) -> None:
    with region(tmp_path, "scale = { rps = 5 }", "--speed", "120") as system:
        async with load(system.urls["edge_http"] + "where", rate=100) as seen:
            status = await until(system, settled_at(MOST))
            assert Counter(node["zone"] for node in nodes(status)) == dict.fromkeys(ZONES, 3)
        status = await until(system, settled_at(3))
        assert Counter(node["zone"] for node in nodes(status)) == dict.fromkeys(ZONES, 1)
        assert not seen.failures
        first, *_, last = (row["message"] for row in events(system, "scaled"))
        assert "requests/s per node is above the target of 5" in first
        assert "is below the target" in last


async def test_processor_time_scales_out(tmp_path: Path) -> None:
    """40 requests of 20 ms a second use 0.8 vCPU where three replicas have 0.75."""
    with region(tmp_path, "scale = { cpu = 60 }\nvcpu = 0.25", "--speed", "120") as system:
        async with load(system.urls["edge_http"] + "burn", rate=40) as seen:
            await until(system, lambda status: status["regions"][0]["desired"] > 3)
        assert not seen.failures
        (first, *_) = (row["message"] for row in events(system, "scaled"))
        assert "% CPU is above the target of 60% CPU" in first
