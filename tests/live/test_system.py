"""The main job as a user does it: up, break, reload, down; seen from outside under load."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.live.system_rig import ANY_PORTS, Running, as_json, gone, holdfast, load, project, up

pytestmark = pytest.mark.live

SPEED = ("--speed", "30")
MARGIN_S = 1.0
"""What the test itself may be late."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with up(project(tmp_path_factory.mktemp("orders")), *SPEED) as running:
        yield running


@pytest.fixture(autouse=True)
def whole(request: pytest.FixtureRequest) -> None:
    """Every test begins with all regions up."""
    if "system" in request.fixturenames:
        request.getfixturevalue("system").until(lambda status: status["state"] == "ready")


def test_up_answers_with_one_object(system: Running) -> None:
    assert set(system.answer) >= {"urls", "run_dir", "ready_s", "memory_mb"}
    assert set(system.urls["gateways"]) == {"eu-west-1", "us-east-1"}
    assert system.answer["memory_mb"] < 1000
    assert {len(region["zones"]) for region in system.status()["regions"]} == {3}


async def test_every_zone_of_the_nearest_region_answers_through_the_edge(system: Running) -> None:
    async with load(system.urls["edge_http"] + "api/whereami") as seen:
        await asyncio.sleep(1)
    assert not seen.failures
    assert {node.partition("/")[0] for node in seen.served_by} == {"eu-west-1a", "eu-west-1b", "eu-west-1c"}


async def test_a_killed_replica_costs_at_most_its_requests_in_flight_and_is_replaced(system: Running) -> None:
    victim = system.nodes()[0]["id"]
    async with load(system.urls["edge_http"] + "api/whereami") as seen:
        await asyncio.sleep(0.5)
        row = as_json(await asyncio.to_thread(system.run, "kill", victim, "--json"))
        await asyncio.sleep(0.5)
    expected = {e["name"]: e for e in row["expected"]}
    assert row["complete"]
    assert row["measured"]["out_of_balancer"] <= expected["out_of_balancer"]["upper_s"]
    assert row["measured"]["replaced"] >= expected["replaced"]["lower_s"]
    assert not seen.since(row["t"] + expected["out_of_balancer"]["upper_s"]).failures
    assert victim not in {node["id"] for node in system.nodes()}


async def test_a_lost_zone_leaves_two_thirds_serving_and_its_capacity_moves(system: Running) -> None:
    async with load(system.urls["edge_http"] + "api/whereami") as seen:
        await asyncio.sleep(0.5)
        row = as_json(await asyncio.to_thread(system.run, "kill", "eu-west-1b", "--no-wait", "--json"))
        await asyncio.to_thread(system.until, lambda s: s["regions"][0]["healthy"] == 3, 60.0)
        await asyncio.sleep(0.5)
    after = seen.since(row["t"] + MARGIN_S)
    assert not after.failures
    assert {node.partition("/")[0] for node in after.served_by} == {"eu-west-1a", "eu-west-1c"}
    assert system.healthy_by_zone()["eu-west-1b"] == 0
    system.run("resume", "eu-west-1b")
    system.until(lambda s: all(zone["nodes"] for zone in s["regions"][0]["zones"]))


async def test_a_lost_region_costs_the_time_that_dns_needs_and_no_more(system: Running) -> None:
    """CloudFront refuses an origin group on a behavior that allows writes, so an API follows Route 53."""
    async with load(system.urls["edge_http"] + "api/whereami", rate=30) as seen:
        await asyncio.sleep(0.5)
        row = as_json(await asyncio.to_thread(system.run, "kill", "eu-west-1", "--json"))
        await asyncio.sleep(0.5)
    expected = {e["name"]: e for e in row["expected"]}
    assert row["complete"]
    for name in ("dns_moved", "edge_moved"):
        assert expected[name]["lower_s"] <= row["measured"][name] <= expected[name]["upper_s"] + MARGIN_S
    after = seen.since(row["t"] + row["measured"]["edge_moved"] + MARGIN_S)
    assert not after.failures
    assert all(node.startswith("us-east-1") for node in after.served_by)
    async with load(system.urls["edge_http"] + "api/orders", rate=20, method="POST") as writes:
        await asyncio.sleep(1)
    assert {status for _, status, _ in writes.outcomes} == {"422"}, (
        "an empty order reaches the other region's program"
    )
    system.run("resume", "eu-west-1")


async def test_reload_under_load_fails_no_request(system: Running) -> None:
    api = system.project / "orders" / "api.py"
    api.write_text(api.read_text() + "\n# a new version\n")
    async with load(system.urls["edge_http"] + "api/whereami", rate=150) as seen:
        row = as_json(await asyncio.to_thread(system.run, "reload", "--json"))
    assert row["outcome"] == "done"
    assert seen.outcomes
    assert not seen.failures
    assert {node["release"] for node in system.nodes() if node["healthy"]} == {row["release"]}


async def test_a_broken_version_is_rolled_back_without_a_failed_request(system: Running) -> None:
    api = system.project / "orders" / "api.py"
    good = api.read_text()
    before = {node["id"] for node in system.nodes()}
    api.write_text(good + "\nraise RuntimeError('the new version is broken')\n")
    async with load(system.urls["edge_http"] + "api/whereami", rate=150) as seen:
        done = await asyncio.to_thread(system.run, "reload", check=False)
    api.write_text(good)
    assert done.returncode == 1
    assert "the new version is broken" in done.stderr
    assert not seen.failures
    assert {node["id"] for node in system.nodes()} == before


async def test_a_frozen_replica_is_taken_out_by_the_health_check_and_replaced(system: Running) -> None:
    victim = system.nodes()[0]["id"]
    row = as_json(await asyncio.to_thread(system.run, "pause", victim, "--json"))
    expected = {e["name"]: e for e in row["expected"]}["out_of_balancer"]
    assert row["complete"]
    assert (
        expected["lower_s"] - MARGIN_S <= row["measured"]["out_of_balancer"] <= expected["upper_s"] + MARGIN_S
    )


async def test_a_cut_link_of_the_edge_is_a_black_hole_until_it_is_healed(system: Running) -> None:
    link = "cloudfront:apigateway.eu-west-1"
    system.run("cut", link)
    async with load(system.urls["edge_http"] + "api/whereami", rate=5) as seen:
        await asyncio.sleep(1)
    assert {status for _, status, _ in seen.outcomes} == {"504"}
    system.run("resume", link)
    async with load(system.urls["edge_http"] + "api/whereami", rate=20) as healed:
        await asyncio.sleep(1)
    assert not healed.failures


def test_scale_spreads_over_the_zones(tmp_path: Path) -> None:
    folder = project(tmp_path)
    manifest = folder / "holdfast.toml"
    manifest.write_text(manifest.read_text().replace("[objectives]", "scale = {}\n\n[objectives]"))
    with up(folder, *SPEED) as running:
        running.run("scale", "6", "--region", "eu-west-1")
        status = running.until(lambda s: s["regions"][0]["healthy"] == 6)
        assert [len(zone["nodes"]) for zone in status["regions"][0]["zones"]] == [2, 2, 2]
        assert status["regions"][1]["desired"] == 3
        running.run("scale", "3", "--region", "eu-west-1")
        running.until(lambda s: [len(zone["nodes"]) for zone in s["regions"][0]["zones"]] == [1, 1, 1])
        refused = running.run("scale", "500", check=False)
        assert refused.returncode == 2
        assert "500 is outside of [compute] replicas 3..6" in refused.stderr


def test_a_name_that_does_not_exist_is_an_input_error(system: Running) -> None:
    done = system.run("kill", "eu-wst-1a", check=False)
    assert done.returncode == 2
    assert "eu-west-1a" in done.stderr


def test_kill_nine_leaves_nothing_and_the_next_start_is_clean(tmp_path: Path) -> None:
    folder = project(tmp_path)
    with up(folder, *SPEED) as first:
        pids = first.pids()
        os.kill(first.status()["pid"], signal.SIGKILL)
        gone(pids)
        assert "nothing runs" in holdfast("down", cwd=folder).stdout
        again = as_json(holdfast("up", "--detach", "--json", *ANY_PORTS, cwd=folder))
        assert again["ready_s"] > 0


def test_a_taken_port_is_named_with_its_holder(system: Running, tmp_path: Path) -> None:
    port = system.urls["dns"].rpartition(":")[2]
    done = holdfast(
        "up", "--http-port", "0", "--https-port", "0", "--dns-port", port, cwd=project(tmp_path), check=False
    )
    assert done.returncode == 3
    assert f"port {port}" in done.stderr
    assert "--dns-port" in done.stderr


def test_a_second_up_of_the_same_project_is_refused(system: Running) -> None:
    done = system.run("up", check=False)
    assert done.returncode == 3
    assert "already running" in done.stderr


def test_a_program_that_never_gets_healthy_says_what_its_health_check_answers(tmp_path: Path) -> None:
    folder = project(tmp_path)
    manifest = folder / "holdfast.toml"
    manifest.write_text(manifest.read_text().replace('"/health"', '"/nowhere"'))
    done = holdfast("up", "--timeout", "8", *ANY_PORTS, cwd=folder, check=False)
    assert done.returncode == 3
    assert "/nowhere answers 404" in done.stderr
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])
    ]


def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=64k none {tmp_path}") != 0:
        pytest.skip("needs a small file system to fill")
    try:
        (tmp_path / "holdfast.toml").write_text('[service]\nname = "full"\napp = "app:app"\n')
        (tmp_path / "app.py").write_text("app = None\n" + "#" * 20_000)
        done = holdfast("up", *ANY_PORTS, cwd=tmp_path, check=False)
    finally:
        os.system(f"umount -l {tmp_path}")
    assert done.returncode == 3
    assert "disk is full" in done.stderr


async def test_a_dead_instance_gets_requests_until_the_health_check_sees_it(tmp_path: Path) -> None:
    """Nobody tells the load balancer of a dead EC2 instance.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
    """
    folder = project(tmp_path)
    manifest = folder / "holdfast.toml"
    manifest.write_text(manifest.read_text().replace('pattern  = "fargate"', 'pattern  = "ec2"'))
    with up(folder, *SPEED) as running:
        async with load(running.urls["edge_http"] + "api/whereami") as seen:
            await asyncio.sleep(0.5)
            victim = running.nodes()[0]["id"]
            row = as_json(await asyncio.to_thread(running.run, "kill", victim, "--json"))
            await asyncio.sleep(0.5)
        expected = {e["name"]: e for e in row["expected"]}["out_of_balancer"]
        assert row["complete"]
        assert expected["lower_s"] - MARGIN_S <= row["measured"]["out_of_balancer"] <= expected["upper_s"]
        assert {status for _, status, _ in seen.failures} == {"502"}, (
            "refused by the target, and never retried"
        )
        assert not seen.since(row["t"] + row["measured"]["out_of_balancer"] + MARGIN_S).failures


async def test_a_paused_zone_gets_no_replacement_until_it_is_back(system: Running) -> None:
    row = as_json(await asyncio.to_thread(system.run, "pause", "us-east-1c", "--json"))
    expected = {e["name"]: e for e in row["expected"]}["out_of_balancer"]
    assert (
        expected["lower_s"] - MARGIN_S <= row["measured"]["out_of_balancer"] <= expected["upper_s"] + MARGIN_S
    )
    assert system.healthy_by_zone()["us-east-1c"] == 0
    assert system.status()["regions"][1]["healthy"] == 3
    system.run("resume", "us-east-1c")
    system.until(lambda status: all(zone["nodes"] for zone in status["regions"][1]["zones"]))


def test_the_link_to_the_bucket_cannot_be_cut(system: Running) -> None:
    done = system.run("cut", "cloudfront:s3.eu-west-1", check=False)
    assert done.returncode == 2
    assert "cannot be cut" in done.stderr


@pytest.mark.parametrize("pattern", ["ec2", "ecs-ec2", "fargate", "eks", "beanstalk", "lambda"])
async def test_every_pattern_runs_the_example_with_one_line_changed(pattern: str, tmp_path: Path) -> None:
    folder = project(tmp_path)
    manifest = folder / "holdfast.toml"
    text = manifest.read_text()
    changed = text.replace('pattern  = "fargate"', f'pattern  = "{pattern}"')
    assert (
        pattern == "fargate"
        or sum(a != b for a, b in zip(text.splitlines(), changed.splitlines(), strict=True)) == 1
    )
    manifest.write_text(changed)
    with up(folder, *SPEED) as running:
        async with load(running.urls["edge_http"] + "api/whereami", rate=30) as seen:
            await asyncio.sleep(2)
        assert not seen.failures
        assert sum(seen.served_by.values()) > 30
