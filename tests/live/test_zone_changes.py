"""What changes while a zone's proxy runs: configuration, faults, its health and its end. Real Envoy, real sockets."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from bench import loadgen
from tests.live.zone_rig import (
    BALANCER_ONLY,
    GATEWAY,
    HOST,
    ZONES,
    App,
    Rig,
    Shape,
    eventually,
    launch,
    running,
    scenario,
    serving,
    started,
)

from holdfast.local.envoy import filters, targets, xds, zone
from holdfast.local.envoy.admin import ProxyGone
from holdfast.local.envoy.zone import Fault

pytestmark = pytest.mark.live


@asynccontextmanager
async def under_load(rig: Rig) -> AsyncIterator[None]:
    """Four keep-alive connections; afterwards every request must have been answered 200."""
    url = f"http://{HOST}:{rig.proxy.port}/"
    load = asyncio.ensure_future(loadgen.run(url, 4, 1.5))
    yield
    result = await load
    assert result.failed == 0
    assert set(result.statuses) == {200}
    assert result.requests > 100


@scenario
async def test_no_push_costs_a_request() -> None:
    """Routes, targets, the throttle's share, then listener and clusters as a whole, all under load."""
    one, two = App("one"), App("two")
    async with running(Shape(), one) as rig, serving(two), under_load(rig):
        rig.register(one.target, two.target)
        await rig.until_healthy("one", "two")
        rig.push(zone.faults(rig.proxy, Fault(delay_pct=100, delay_s=0.01)))
        rig.push(zone.share(rig.proxy, 2))
        rig.register(replace(one.target, draining=True), two.target)
        await rig.until_healthy("two")
        rig.register(two.target)
        changed = Shape(gateway=replace(GATEWAY, request_timeout_s=7, max_header_bytes=20_480))
        rig.push(zone.config(changed.proxy(rig.proxy.port)))
        await eventually(lambda: _takes_headers(rig, 15_000))
        assert await rig.admin.update_rejected() == {}


async def _takes_headers(rig: Rig, size: int) -> bool:
    return (await rig.get(headers={"x-large": "y" * 7000, "x-larger": "y" * (size - 7000)})).status == 200


INVALID = {
    zone.LISTENER_FILE: xds.resources(xds.typed("envoy.config.listener.v3.Listener", name="zone")),
    zone.CLUSTERS_FILE: xds.resources(xds.typed("envoy.config.cluster.v3.Cluster", name="targets", lb=1)),
    filters.ROUTES_FILE: "not JSON",
    targets.ENDPOINTS_FILE: xds.resources(targets.assignment(()), targets.assignment(())),
}


@pytest.mark.parametrize(("file", "content"), INVALID.items())
def test_an_invalid_push_is_refused_and_seen(file: str, content: xds.Json | str) -> None:
    """The last good configuration goes on serving."""

    @scenario
    async def run() -> None:
        async with running(Shape(), App("a")) as rig:
            xds.write(rig.folder, {file: content})
            await eventually(lambda: _refused(rig, file))
            assert (await rig.admin.counters()).rejected == {file: 1}
            assert (await rig.get()).status == 200

    run()


async def _refused(rig: Rig, file: str) -> bool:
    return file in await rig.admin.update_rejected()


@scenario
async def test_a_fault_aborts_and_heals() -> None:
    """Half of the requests, with the status that the drill asks for."""
    async with running(Shape(), App("a")) as rig:
        rig.push(zone.faults(rig.proxy, Fault(abort_pct=100, abort_status=418)))
        await eventually(lambda: _answers(rig, 418))
        rig.push(zone.faults(rig.proxy, Fault(abort_pct=50, abort_status=503)))
        await eventually(lambda: _answers(rig, 200))
        statuses = [(await rig.get()).status for _ in range(60)]
        assert set(statuses) == {200, 503}
        rig.push(zone.faults(rig.proxy, None))
        await eventually(lambda: _all_answer(rig, 200))


async def _answers(rig: Rig, status: int) -> bool:
    return (await rig.get()).status == status


async def _all_answer(rig: Rig, status: int) -> bool:
    return {(await rig.get()).status for _ in range(20)} == {status}


@scenario
async def test_a_fault_delays() -> None:
    async with running(Shape(), App("a")) as rig:
        rig.push(zone.faults(rig.proxy, Fault(delay_pct=100, delay_s=0.3)))

        async def late() -> bool:
            begin = time.monotonic()
            assert (await rig.get()).status == 200
            return time.monotonic() - begin >= 0.3

        await eventually(late)


@scenario
async def test_the_probe_is_200_only_with_a_healthy_target() -> None:
    app = App("a")
    async with running(Shape(), app) as rig:
        assert await rig.probe() == 200
        app.health = 500
        await eventually(lambda: _probe_is(rig, 503))
        app.health = 200
        await eventually(lambda: _probe_is(rig, 200))
        rig.register(replace(app.target, draining=True))
        await eventually(lambda: _probe_is(rig, 503))
        rig.register()
        await eventually(lambda: _probe_is(rig, 503))


async def _probe_is(rig: Rig, status: int) -> bool:
    return await rig.probe() == status


@scenario
async def test_the_probes_path_belongs_to_the_users_api_for_everybody_else() -> None:
    app = App("a")
    async with running(Shape(), app) as rig:
        assert (await rig.get("/_hf/health")).body == b"ok"
        assert app.seen[0].line == "GET /_hf/health HTTP/1.1"


@scenario
async def test_without_cross_zone_a_node_keeps_to_its_own_zone() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/disable-cross-zone.html"""
    near, far = App("near", zone=ZONES[0]), App("far", zone=ZONES[1])
    shape = replace(BALANCER_ONLY, balancer=replace(BALANCER_ONLY.balancer, cross_zone=False))
    async with running(shape, near) as rig, serving(far):
        rig.register(near.target, far.target)
        await rig.until_healthy("near")
        assert {(await rig.get()).body for _ in range(6)} == {b"ok"}
        assert not far.seen


@scenario
async def test_http_2_with_prior_knowledge_on_the_same_port() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html"""
    settings = bytes.fromhex("000000 04 00 00000000")
    # HPACK's static table: :method GET, :scheme http, :path /, and :authority "a".
    block = bytes.fromhex("82 86 84 41 01 61")
    headers = len(block).to_bytes(3, "big") + bytes.fromhex("01 05 00000001") + block
    async with running(Shape(), App("a")) as rig:
        await rig.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + headers, until=b"ok")
        assert (await rig.admin.counters()).ok_2xx == 1


@scenario
async def test_counters_and_target_states() -> None:
    app = App("eu-west-1a/ecs-1")
    async with running(Shape(), app) as rig:
        await rig.get()
        counters = await rig.admin.counters()
        assert (counters.requests, counters.ok_2xx, counters.server_errors_5xx) == (1, 1, 0)
        state = (await rig.admin.target_health())["eu-west-1a/ecs-1"]
        assert (state.healthy, state.draining, state.requests_total, state.errors_total) == (
            True,
            False,
            1,
            0,
        )


@scenario
async def test_a_drained_proxy_fails_its_probe_and_then_refuses_connections() -> None:
    async with running(Shape(), App("a")) as rig:
        await rig.admin.drain()
        assert await rig.probe() == 503
        assert (await rig.get()).status == 200, "whoever still has the address is served"
        await eventually(lambda: _refuses(rig))


async def _refuses(rig: Rig) -> bool:
    try:
        await rig.get(headers={"connection": "close"})
    except aiohttp.ClientConnectorError:
        return True
    return False


@scenario
async def test_the_admin_socket_is_the_owners_alone() -> None:
    async with running(Shape()) as rig:
        assert (rig.folder / "admin.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_proxy_that_is_gone_or_frozen_is_reported(
    end: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.local.envoy.admin.ANSWER_WITHIN_S", 0.3)

    @scenario
    async def run() -> None:
        async with running(Shape(), App("a")) as rig:
            await rig.admin.close()
            rig.process.send_signal(end)
            await eventually(lambda: _is_gone(rig))

    run()


async def _is_gone(rig: Rig) -> bool:
    try:
        await rig.admin.counters()
    except ProxyGone as gone:
        return "does not answer on" in gone.message
    return False


@scenario
async def test_a_killed_proxy_starts_again_in_the_same_folder() -> None:
    """With its targets: they are in the files."""
    app = App("a")
    async with running(Shape(), app) as rig:
        rig.process.kill()
        await rig.process.wait()
        with pytest.raises(ProxyGone):
            await rig.admin.counters()
        rig.process = await launch(rig.folder, rig.proxy)
        await started(rig)
        await rig.until_healthy("a")
        assert (await rig.get()).status == 200


@scenario
async def test_nothing_but_the_connection_limit_is_warned_about_at_start() -> None:
    """A deprecated or misspelt option would show up here first."""
    async with running(Shape(), App("a")) as rig:
        lines = Path(rig.folder / "envoy.log").read_text().splitlines()
        assert [line for line in lines if line and "active downstream connections" not in line] == []
