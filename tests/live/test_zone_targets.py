"""The load balancer node of a zone's proxy does as AWS documents it. Real Envoy, real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace

import pytest
from tests.live.zone_rig import (
    BALANCER,
    BALANCER_ONLY,
    HEALTH,
    HOST,
    ZONES,
    App,
    Rig,
    Seen,
    Shape,
    answering,
    eventually,
    http,
    never,
    running,
    scenario,
    serving,
)

from holdfast.local.envoy import zone

pytestmark = pytest.mark.live

BAD_GATEWAY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


async def hang_up(_: Seen) -> None:
    return None


@scenario
async def test_targets_take_turns() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/introduction.html"""
    apps = [App(name) for name in "abc"]
    async with running(Shape(), *apps) as rig:
        for _ in range(30):
            assert (await rig.get()).status == 200
        assert [len(app.seen) for app in apps] == [10, 10, 10]


@pytest.mark.parametrize("shape", [Shape(), BALANCER_ONLY], ids=["gateway-balancer", "balancer"])
def test_a_refused_connection_is_a_502_after_one_attempt(shape: Shape) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html"""

    @scenario
    async def run() -> None:
        async with running(replace(shape, health=None), App("a")) as rig:
            rig.register(zone.Target("nobody", ZONES[0], HOST, 1))
            await rig.until_healthy("nobody")
            got = await rig.get()
            assert (got.status, got.body) == (502, BAD_GATEWAY)
            assert got.headers["content-type"] == "text/html"
            assert got.headers["server"] == "awselb/2.0"
            assert (await rig.admin.target_health())["nobody"].connect_failures_total == 1

    run()


@scenario
async def test_a_connection_that_is_not_accepted_is_a_504() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html"""
    shape = replace(BALANCER_ONLY, balancer=replace(BALANCER, connect_timeout_s=0.2), health=None)
    with socket.socket() as deaf, socket.socket() as filler:
        deaf.bind((HOST, 0))
        deaf.listen(0)
        filler.connect(deaf.getsockname())  # the one place in the backlog
        async with running(shape) as rig:
            rig.register(zone.Target("deaf", ZONES[0], *deaf.getsockname()))
            await rig.until_healthy("deaf")
            got = await rig.get()
            assert (got.status, b"<h1>504 Gateway Time-out</h1>" in got.body) == (504, True)


@scenario
async def test_a_target_that_hangs_up_is_a_502_after_one_attempt() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html"""
    apps = [App("a", hang_up), App("b", hang_up)]
    async with running(Shape(), *apps) as rig:
        got = await rig.get()
        assert (got.status, got.body) == (502, BAD_GATEWAY)
        assert sum(len(app.seen) for app in apps) == 1


@scenario
async def test_a_targets_own_5xx_is_passed_on_and_not_retried() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html"""
    apps = [App(name, answering(503, b"mine", "server: own")) for name in "ab"]
    async with running(Shape(), *apps) as rig:
        got = await rig.get(headers={"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "3"})
        assert (got.status, got.body, got.headers["server"]) == (503, b"mine", "own")
        assert sum(len(app.seen) for app in apps) == 1


@scenario
async def test_a_silent_target_is_a_504_after_the_idle_timeout() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html"""
    shape = replace(BALANCER_ONLY, balancer=replace(BALANCER, idle_timeout_s=0.2))
    async with running(shape, App("a", never)) as rig:
        got = await rig.get()
        assert (got.status, b"<h1>504 Gateway Time-out</h1>" in got.body) == (504, True)


@scenario
async def test_a_target_that_keeps_sending_outlives_the_idle_timeout() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html"""

    async def trickle(request: Seen) -> bytes:
        request.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.1)
            request.writer.write(b".")
        return b"."

    shape = replace(BALANCER_ONLY, balancer=replace(BALANCER, idle_timeout_s=0.3))
    async with running(shape, App("a", trickle)) as rig:
        assert (await rig.get()).body == b"......"


@scenario
async def test_no_registered_target_is_a_503() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html"""
    async with running(Shape()) as rig:
        got = await rig.get()
        assert got.status == 503
        assert b"<h1>503 Service Temporarily Unavailable</h1>" in got.body
        assert len(got.body) == 162


@scenario
async def test_a_target_is_unhealthy_only_after_the_threshold() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html"""
    app, other = App("a"), App("b")
    patient = replace(HEALTH, unhealthy_threshold=4)
    async with running(Shape(health=patient), app, other) as rig:
        before = len(app.probes)
        app.health = 500
        await rig.until_healthy("b")
        assert len(app.probes) - before >= 4


@scenario
async def test_a_new_target_is_healthy_after_one_pass_and_a_recovered_one_after_the_threshold() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html"""
    app, other = App("a"), App("b")
    async with running(Shape(health=replace(HEALTH, healthy_threshold=50)), app, other) as rig:
        assert await rig.healthy() == {"a", "b"}
        assert len(app.probes) < 50
        app.health = 500
        await rig.until_healthy("b")
        app.health, before = 200, len(app.probes)
        while len(app.probes) < before + 5:
            await asyncio.sleep(0.01)
        assert await rig.healthy() == {"b"}


@scenario
async def test_probes_look_like_the_balancers() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html"""
    app = App("a")
    async with running(Shape(), app):
        probe = app.probes[0]
        assert probe.header("user-agent") == "ELB-HealthChecker/2.0"
        assert probe.header("host") == f"{HOST}:{app.port}"


@scenario
async def test_an_unhealthy_target_gets_no_requests() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html"""
    good, bad = App("good"), App("bad", health=500)
    async with running(Shape(), good, bad) as rig:
        for _ in range(10):
            await rig.get()
        assert (len(good.seen), len(bad.seen)) == (10, 0)


@pytest.mark.parametrize(("fail_open", "status"), [(True, 200), (False, 503)])
def test_with_every_target_unhealthy_the_balancer_fails_open(fail_open: bool, status: int) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html"""

    @scenario
    async def run() -> None:
        apps = [App(name, health=500) for name in "abc"]
        async with running(Shape(balancer=replace(BALANCER, fail_open=fail_open)), *apps) as rig:
            assert {(await rig.get()).status for _ in range(9)} == {status}
            assert [bool(app.seen) for app in apps] == [fail_open] * 3

    run()


@scenario
async def test_a_target_in_slow_start_gets_less_than_its_share() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html"""
    window_s = 2.0
    old, new = App("old"), App("new")
    async with running(Shape(balancer=replace(BALANCER, slow_start_s=window_s)), old) as rig:
        begin = time.monotonic()
        await eventually(lambda: _true(time.monotonic() > begin + window_s))
        async with serving(new):
            rig.register(old.target, new.target)
            await rig.until_healthy("old", "new")
            for _ in range(30):
                await rig.get()
            assert 0 < len(new.seen) < 12
            await eventually(lambda: _even(rig, old, new))


async def _even(rig: Rig, *apps: App) -> bool:
    for app in apps:
        app.seen.clear()
    for _ in range(20):
        await rig.get()
    return {len(app.seen) for app in apps} == {10}


async def _true(value: bool) -> bool:
    return value


@scenario
async def test_a_draining_target_finishes_its_requests_and_gets_no_new_ones() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html"""
    release = asyncio.Event()

    async def held(_: Seen) -> bytes:
        await release.wait()
        return http(200, b"finished")

    leaving, staying = App("leaving", held), App("staying")
    async with running(Shape(), leaving) as rig, serving(staying):
        pending = asyncio.ensure_future(rig.get())
        await eventually(lambda: _active(rig, "leaving", 1))
        rig.register(replace(leaving.target, draining=True), staying.target)
        await rig.until_healthy("staying")
        assert (await rig.admin.target_health())["leaving"].draining
        assert {(await rig.get()).status for _ in range(10)} == {200}
        assert (len(leaving.seen), len(staying.seen)) == (1, 10)
        rig.register(staying.target)
        await eventually(lambda: _registered(rig, "staying"))
        release.set()
        assert (await pending).body == b"finished"


@scenario
async def test_a_draining_target_gets_nothing_even_when_the_balancer_fails_open() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html"""
    leaving, sick = App("leaving"), App("sick", health=500)
    async with running(Shape(), leaving, sick) as rig:
        rig.register(replace(leaving.target, draining=True), sick.target)
        await rig.until_healthy()
        assert {(await rig.get()).status for _ in range(10)} == {200}
        assert (len(leaving.seen), len(sick.seen)) == (0, 10)
        rig.register(replace(leaving.target, draining=True))
        await eventually(lambda: _registered(rig, "leaving"))
        assert (await rig.get()).status == 503


async def _active(rig: Rig, node: str, count: int) -> bool:
    return (await rig.admin.target_health())[node].active_requests == count


async def _registered(rig: Rig, *nodes: str) -> bool:
    return set(await rig.admin.target_health()) == set(nodes)


@scenario
async def test_a_websocket_passes_a_balancer() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html"""

    async def upgrade(request: Seen) -> bytes:
        assert request.header("upgrade") == "websocket"
        request.writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n")
        request.writer.write(b"connection: upgrade\r\n\r\n")
        return b"frames"

    async with running(BALANCER_ONLY, App("a", upgrade)) as rig:
        asked = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        answer = await rig.raw(asked, until=b"frames")
        assert answer.startswith(b"HTTP/1.1 101 ")


@scenario
async def test_http_1_0_without_a_host_is_served_by_a_balancer() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/how-elastic-load-balancing-works.html"""
    app = App("a")
    async with running(BALANCER_ONLY, app) as rig:
        assert (await rig.raw(b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200 ")
        assert app.seen[0].header("host") == f"{HOST}:{rig.proxy.port}"


@scenario
async def test_too_many_header_bytes_are_a_400_of_the_balancer() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html"""
    async with running(
        replace(BALANCER_ONLY, balancer=replace(BALANCER, max_header_bytes=2048)), App("a")
    ) as rig:
        got = await rig.get(headers={"x-large": "y" * 2500})
        assert (got.status, b"<h1>400 Bad Request</h1>" in got.body) == (400, True)
