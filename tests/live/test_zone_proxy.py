"""The API Gateway stage of a zone's proxy answers as AWS documents it. Real Envoy, real sockets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.live.zone_rig import (
    BALANCER_ONLY,
    GATEWAY,
    HOST,
    LOOPBACK,
    App,
    Seen,
    Shape,
    answering,
    eventually,
    http,
    running,
    scenario,
    throttled,
)

from holdfast.local.envoy import zone
from holdfast.model import Role

pytestmark = pytest.mark.live


async def never(_: Seen) -> bytes:
    await asyncio.sleep(60)
    return http(200)


@scenario
async def test_a_request_beyond_the_burst_is_throttled() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html"""
    async with running(Shape(gateway=throttled(rate=0.01, burst=3)), App("a")) as rig:
        got = [await rig.get() for _ in range(4)]
        assert [one.status for one in got] == [200, 200, 200, 429]
        assert got[3].body == b'{"message":"Too Many Requests"}'
        assert got[3].headers["content-type"] == "application/json"
        assert (await rig.admin.counters()).throttled == 1


@scenario
async def test_the_zones_of_a_region_share_the_throttle() -> None:
    """The stage's throttle is the region's:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html"""
    async with running(Shape(gateway=throttled(rate=0.01, burst=9), zones=3), App("a")) as rig:
        statuses = [(await rig.get()).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]


@scenario
async def test_a_lost_zone_leaves_its_part_of_the_throttle_to_the_others() -> None:
    """The quota belongs to the region, whatever is left of it."""
    async with running(Shape(gateway=throttled(rate=50, burst=10), zones=10), App("a")) as rig:
        rig.push(zone.share(rig.proxy, 1))

        async def ten_in_a_row() -> bool:
            await asyncio.sleep(0.25)  # an untouched bucket is full again by then
            return [(await rig.get()).status for _ in range(10)] == [200] * 10

        await eventually(ten_in_a_row)


@scenario
async def test_an_integration_that_is_too_slow_is_a_504_of_the_gateway() -> None:
    """INTEGRATION_TIMEOUT:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html"""
    async with running(Shape(gateway=replace(GATEWAY, request_timeout_s=0.2)), App("a", never)) as rig:
        got = await rig.get()
        assert (got.status, got.body) == (504, b'{"message": "Endpoint request timed out"}')
        assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_payload_beyond_the_limit_is_a_413(chunked: bool) -> None:
    """REQUEST_TOO_LARGE:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html"""

    async def parts():  # type: ignore[no-untyped-def]
        for _ in range(11):
            yield b"x" * 100

    @scenario
    async def run() -> None:
        async with running(Shape(gateway=replace(GATEWAY, max_payload_bytes=1000)), App("a")) as rig:
            fits = await rig.send("POST", "/", data=b"x" * 1000)
            assert fits.status == 200
            got = await rig.send("POST", "/", data=parts() if chunked else b"x" * 1001)
            assert (got.status, got.body) == (413, b'{"message":"Request Too Long"}')

    run()


@scenario
async def test_too_many_header_bytes_are_refused() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""
    async with running(Shape(gateway=replace(GATEWAY, max_header_bytes=2048)), App("a")) as rig:
        assert (await rig.get(headers={"x-fits": "y" * 1500})).status == 200
        got = await rig.get(headers={"x-large": "y" * 2500})
        assert got.status == 431
        assert "message" in json.loads(got.body)


@scenario
async def test_every_answer_has_a_request_id_of_the_gateways_own() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html"""
    app = App("a")
    async with running(Shape(gateway=throttled(rate=0.01, burst=1)), app) as rig:
        got = await rig.get(headers={"x-request-id": "chosen-by-the-client"})
        assert len(got.headers["x-amzn-requestid"]) == 36
        assert app.seen[0].header("x-request-id") == "chosen-by-the-client", "which is none of the gateway's"
        refused = await rig.get()
        assert refused.status == 429
        assert len(refused.headers["x-amzn-requestid"]) == 36, "also when the gateway itself answers"

        log = rig.folder / "access.log"
        await eventually(lambda: _true(log.exists() and log.read_text().count("\n") == 2))
        logged = [json.loads(line)["requestId"] for line in log.read_text().splitlines()]
        assert logged == [one.headers["x-amzn-requestid"] for one in (got, refused)]


@scenario
async def test_a_gateway_drops_the_upgrade_header() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html"""
    app = App("a")
    async with running(Shape(), app) as rig:
        got = await rig.get(headers={"Connection": "Upgrade", "Upgrade": "websocket"})
        assert got.status == 200
        assert app.seen[0].header("upgrade") is None


@scenario
async def test_functions_are_not_health_checked_and_fail_in_the_gateways_words() -> None:
    """INTEGRATION_FAILURE:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html"""
    app = App("invoke", health=500)
    async with running(Shape(balancer=None, compute=Role.FUNCTIONS), app) as rig:
        assert (await rig.get()).status == 200
        await app.stop()
        app.seen[0].writer.close()

        async def refused() -> bool:
            got = await rig.get()
            return (got.status, got.body) == (
                504,
                b'{"message": "Network error communicating with endpoint"}',
            )

        await eventually(refused)
        assert not app.probes


# --- what both leave alone, and what they add


@scenario
async def test_the_applications_answer_is_left_as_it_is() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/setup-http-integrations.html"""
    own = (
        "server: mine",
        "x-envoy-own: 1",
        "date: Thu, 01 Jan 1970 00:00:00 GMT",
        "x-twice: 1",
        "x-twice: 2",
    )
    async with running(Shape(), App("a", answering(418, b"<b>mine</b>", *own))) as rig:
        got = await rig.get()
        assert (got.status, got.body) == (418, b"<b>mine</b>")
        mine = sorted((*(tuple(header.split(": ", 1)) for header in own), ("content-length", "11")))
        added = ("x-amzn-requestid", got.headers["x-amzn-requestid"])
        assert sorted((name.lower(), value) for name, value in got.headers.items()) == sorted((*mine, added))


@pytest.mark.parametrize("shape", [Shape(), BALANCER_ONLY], ids=["gateway-balancer", "balancer"])
def test_the_path_is_left_as_it_is(shape: Shape) -> None:
    """A balancer neither decodes nor merges:
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/introduction.html"""
    path = b"/a//b/../c/./%2F%2e%5c;p=1?q=%20&&x=//../y"

    @scenario
    async def run() -> None:
        app = App("a")
        async with running(shape, app) as rig:
            await rig.raw(b"GET " + path + b" HTTP/1.1\r\nhost: a\r\n\r\n")
            assert app.seen[0].line == f"GET {path.decode()} HTTP/1.1"

    run()


@scenario
async def test_forwarded_headers_are_appended() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html"""
    app = App("a")
    async with running(BALANCER_ONLY, app) as rig:
        await rig.get(headers={"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "gopher"})
        await rig.get()
        first, second = app.seen
        assert first.header("x-forwarded-for") == f"203.0.113.7,{LOOPBACK}"
        assert second.header("x-forwarded-for") == LOOPBACK
        assert first.header("x-forwarded-proto") == "http"
        assert first.header("x-forwarded-port") == str(rig.proxy.port)


@scenario
async def test_no_envoy_header_reaches_the_application() -> None:
    """Nothing a client sends steers Envoy, and the application cannot tell what the balancer is made of."""
    app = App("a", never)
    async with running(Shape(gateway=replace(GATEWAY, request_timeout_s=0.5)), app) as rig:
        sent = {"x-envoy-upstream-rq-timeout-ms": "60000", "x-envoy-retry-on": "5xx,reset"}
        assert (await rig.get(headers=sent)).status == 504
        assert not [name for name, _ in app.seen[0].headers if "envoy" in name]
        assert len(app.seen) == 1


@scenario
async def test_the_access_log_is_json_whatever_the_path_holds() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html"""
    async with running(Shape(), App("a")) as rig:
        await rig.probe()
        await rig.raw(b'GET /a"b\\ HTTP/1.1\r\nhost: a\r\n\r\n')
        log = rig.folder / "access.log"
        await eventually(lambda: _true(log.exists() and log.stat().st_size > 0))
        (line,) = [json.loads(line) for line in log.read_text().splitlines()]
        assert (line["httpMethod"], line["path"], line["status"]) == ("GET", '/a"b\\', 200)
        assert line["target"].startswith(f"{HOST}:")


async def _true(value: bool) -> bool:
    return value
