"""A function's front with real environments: AWS's runtime client, in processes that this file starts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from holdfast.local.functions.config import FrontConfig, FunctionConfig, Start, dump, environment_spec

pytestmark = pytest.mark.live

WAIT_S = 30.0

APPS = {
    "asgi_app": """
        import asyncio, json, os

        starts = 0

        async def app(scope, receive, send):
            global starts
            if scope["type"] == "lifespan":
                await receive()
                starts += 1
                scope["state"]["told"] = "at startup"
                await send({"type": "lifespan.startup.complete"})
                await receive()
                return
            message = await receive()
            path, query = scope["path"], scope["query_string"].decode()
            if path == "/sleep":
                await asyncio.sleep(float(query[2:]))
            if path == "/die":
                os._exit(9)
            size = int(query[2:]) if path == "/big" else 0
            said = {
                "pid": os.getpid(), "path": path, "query": query, "method": scope["method"], "starts": starts,
                "told": scope["state"]["told"], "zone": os.environ["HOLDFAST_ZONE"],
                "version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
                "body": message["body"].decode("latin-1"),
            }
            kind, body = b"application/json", b"x" * size if size else json.dumps(said).encode()
            if path == "/bytes":
                kind, body = b"image/png", bytes(range(256))
            headers = [(b"content-type", kind), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
    """,
    "wsgi_app": """
        import json

        def app(environ, start_response):
            body = environ["wsgi.input"].read().decode()
            start_response("201 Created", [("Content-Type", "application/json")])
            said = {"path": environ["PATH_INFO"], "query": environ["QUERY_STRING"], "body": body}
            return [json.dumps(said).encode()]
    """,
    "broken_app": "raise RuntimeError('no database')",
    "sick_app": """
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no cache"})
    """,
}


@dataclass
class Rig:
    """A running front and the starter that gives it environments."""

    folder: Path
    function: FunctionConfig
    front: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: aiohttp.ClientSession
    url: str = ""
    apps: dict[int, str] = field(default_factory=dict)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    heard: list[dict[str, Any]] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    listening: asyncio.Task[None] = field(init=False)

    def say(self, line: dict[str, Any]) -> None:
        self.writer.write(json.dumps(line).encode() + b"\n")

    def begin(self) -> None:
        """Be the starter on the present connection."""
        self.say({"starter": True})
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while text := await self.reader.readline():
            line = json.loads(text)
            self.heard.append(line)
            if "start" in line:
                await self._start(Start(**line["start"]))
            elif "retire" in line and (process := self.processes.get(line["retire"])):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL if line["now"] else signal.SIGTERM)

    async def _start(self, start: Start) -> None:
        app = self.apps.get(start.version, self.function.app)
        argv, env = environment_spec(replace(self.function, app=app), start)
        process = await asyncio.create_subprocess_exec(*argv, env=os.environ | env, cwd=self.folder)
        self.processes[start.environment] = process
        task = asyncio.create_task(self._watch(start.environment, process))
        self.tasks.add(task)

    async def _watch(self, environment: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        del self.processes[environment]
        self.say({"environment": environment, "state": "exited", "reason": f"exit {code}"})

    async def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = (await ask(self.folder, b'{"status": true}\n'))["status"]
        return answer

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        async with self.http.get(self.url + path, **more) as response:
            return response.status, json.loads(await response.read())

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status that is as wanted."""
        end = time.monotonic() + WAIT_S
        while not wanted(status := await self.status()):
            assert time.monotonic() < end, f"not in time: {status}"
            await asyncio.sleep(0.02)
        return status

    async def told(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line from the front that is as wanted."""
        end = time.monotonic() + WAIT_S
        while not (found := [line for line in self.heard if wanted(line)]):
            assert time.monotonic() < end, f"never said: {self.heard}"
            await asyncio.sleep(0.02)
        return found[0]


async def ask(folder: Path, line: bytes) -> Any:
    """The front's answer to one line on a connection of its own."""
    reader, writer = await asyncio.open_unix_connection(folder / "control.sock")
    writer.write(line)
    answer = json.loads(await reader.readline())
    writer.close()
    await writer.wait_closed()
    return answer


async def eventually(attempt: Callable[[], Awaitable[Any]]) -> Any:
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return await attempt()
        except OSError:
            assert time.monotonic() < end, "the front did not come up"
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(folder: Path, app: str, **settings: Any) -> AsyncIterator[Rig]:
    for name, text in APPS.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    defaults: dict[str, Any] = {
        "name": "orders", "app": app, "region": "eu-west-1", "zones": ("eu-west-1a", "eu-west-1b"),
        "concurrency": 2, "timeout_s": 10.0, "memory_mb": 512, "max_payload_bytes": 100_000,
        "init_timeout_s": 10.0, "integration_timeout_s": 29.0,
    }  # fmt: skip
    function = FunctionConfig(**defaults | settings)
    control = folder / "control.sock"
    (folder / "front.json").write_text(dump(FrontConfig(function=function, control=str(control))))
    front = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "holdfast.local.functions.front", "--config", str(folder / "front.json")
    )
    reader, writer = await eventually(lambda: asyncio.open_unix_connection(control))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        rig = Rig(folder, function, front, reader, writer, http)
        rig.url = f"http://127.0.0.1:{(await rig.until(lambda s: s['port'] > 0))['port']}"
        rig.begin()
        try:
            yield rig
        finally:
            front.terminate()
            assert await asyncio.wait_for(front.wait(), WAIT_S) == 0
            await rig.listening
            for process in list(rig.processes.values()):
                process.kill()
            await asyncio.gather(*rig.tasks)
            rig.writer.close()
            # The front has left before it could hear of every exit.
            with contextlib.suppress(ConnectionError):
                await rig.writer.wait_closed()


def live(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    """Run an asynchronous test in its folder."""

    def run(tmp_path: Path) -> None:
        asyncio.run(asyncio.wait_for(test(tmp_path), 2 * WAIT_S))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@live
async def test_an_asgi_program_is_served_with_one_lifespan_for_each_environment(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app") as rig:
        async with rig.http.post(
            URL(rig.url + "/a%20b?x=1&x=2%2C3", encoded=True), data=b"caf\xc3\xa9"
        ) as response:
            said = await response.json()
            assert response.status == 200
            assert response.headers.getall("set-cookie") == ["a=1", "b=2"]
        assert said | {"pid": 0} == {
            "pid": 0, "path": "/a b", "query": "x=1&x=2%2C3", "method": "POST", "starts": 1,
            "told": "at startup", "zone": "eu-west-1a", "version": "1", "body": "caf\u00c3\u00a9",
        }  # fmt: skip
        _, again = await rig.get("/")
        assert (again["pid"], again["starts"]) == (said["pid"], 1)
        async with rig.http.get(rig.url + "/bytes") as response:
            assert await response.read() == bytes(range(256))
        status = await rig.status()
        assert (status["invocations"], status["cold_starts"], status["errors"]) == (3, 1, 0)


@live
async def test_a_wsgi_program_is_served(tmp_path: Path) -> None:
    async with (
        running(tmp_path, "wsgi_app:app") as rig,
        rig.http.post(rig.url + "/orders/7?q=%C3%A9", data=b"hello") as response,
    ):
        assert response.status == 201
        assert await response.json() == {"path": "/orders/7", "query": "q=%C3%A9", "body": "hello"}


@live
async def test_an_environment_serves_one_request_at_a_time_and_the_next_over_the_limit_is_throttled(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, "asgi_app:app", throttled_status=429) as rig:
        slow = [asyncio.create_task(rig.get("/sleep?s=2")) for _ in range(2)]
        await rig.until(lambda s: [e["state"] for e in s["environments"]] == ["busy", "busy"])
        assert await rig.get("/") == (429, {"message": "Rate Exceeded."})
        answers = [await task for task in slow]
        assert [status for status, _ in answers] == [200, 200]
        assert len({said["pid"] for _, said in answers}) == 2
        assert {said["zone"] for _, said in answers} == {"eu-west-1a", "eu-west-1b"}
        assert (await rig.status())["throttles"] == 1


@live
async def test_a_timeout_is_a_502_and_the_environment_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app", timeout_s=0.5) as rig:
        _, before = await rig.get("/")
        assert await rig.get("/sleep?s=60") == (502, {"message": "Internal server error"})
        status, after = await rig.get("/")
        assert (status, after["pid"] != before["pid"]) == (200, True)
        assert (await rig.status())["refusals"] == {"timed-out": 1}


@live
async def test_the_integration_gives_up_before_the_function(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app", integration_timeout_s=2.0) as rig:
        _, before = await rig.get("/")
        assert await rig.get("/sleep?s=3") == (504, {"message": "Endpoint request timed out"})
        assert (await rig.status())["in_flight"] == 1
        await rig.until(lambda s: s["in_flight"] == 0)
        assert (await rig.get("/"))[1]["pid"] == before["pid"]


@live
async def test_payloads_over_the_limit(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app", max_payload_bytes=10_000) as rig:
        for size in (7_500, 50_000):
            # The smaller one passes only until it is base64 in an event.
            async with rig.http.post(rig.url + "/", data=b"x" * size) as response:
                assert (response.status, await response.json()) == (413, {"message": "Request Too Long"})
        assert (await rig.status())["invocations"] == 0
        assert await rig.get("/big?n=20000") == (502, {"message": "Internal server error"})
        assert (await rig.get("/"))[0] == 200


@live
async def test_an_environment_that_dies_under_a_request(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app") as rig:
        assert await rig.get("/die") == (502, {"message": "Internal server error"})
        slow = asyncio.create_task(rig.get("/sleep?s=60"))
        await rig.until(lambda s: [e["state"] for e in s["environments"]] == ["busy"])
        (process,) = rig.processes.values()
        process.kill()
        assert await slow == (502, {"message": "Internal server error"})
        assert (await rig.get("/"))[0] == 200
        assert (await rig.status())["refusals"] == {"crashed": 2}


@live
async def test_idle_environments_retire_but_provisioned_ones_stay(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app", idle_s=0.3, provisioned=1) as rig:
        await rig.until(lambda s: [e["state"] for e in s["environments"]] == ["idle"])
        answers = await asyncio.gather(rig.get("/sleep?s=1"), rig.get("/sleep?s=1"))
        assert [status for status, _ in answers] == [200, 200]
        await rig.told(lambda line: line.get("reason") == "idle")
        await rig.until(lambda s: len(s["environments"]) == 1)
        status = await rig.status()
        assert (status["provisioned_starts"], status["cold_starts"]) == (1, 1)


@live
async def test_a_lost_zone_is_left_and_taken_again(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app") as rig:
        slow = asyncio.create_task(rig.get("/sleep?s=60"))
        await rig.until(lambda s: [e["state"] for e in s["environments"]] == ["busy"])
        rig.say({"zone": "eu-west-1a", "state": "lost"})
        assert (await slow)[0] == 502
        assert (await rig.get("/"))[1]["zone"] == "eu-west-1b"
        rig.say({"zone": "eu-west-1a", "state": "back"})
        await rig.until(lambda s: s["lost_zones"] == [])


@live
async def test_a_version_takes_over_and_a_broken_one_is_reported(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app") as rig:
        rig.apps[2] = "broken_app:app"
        slow = asyncio.create_task(rig.get("/sleep?s=1.5"))
        await rig.until(lambda s: [e["state"] for e in s["environments"]] == ["busy"])
        rig.say({"probe": 2})
        failed = await rig.told(lambda line: line.get("version") == 2)
        assert (failed["state"], failed["error"]) == ("failed", "RuntimeError: no database")
        assert (await rig.get("/"))[1]["version"] == "1"
        rig.say({"probe": 3})
        await rig.told(lambda line: line.get("version") == 3 and line["state"] == "ready")
        rig.say({"version": 3})
        await rig.until(lambda s: s["version"] == 3)
        assert (await rig.get("/"))[1]["version"] == "3"
        status, said = await slow
        assert (status, said["version"]) == (200, "1")
        await rig.told(lambda line: line.get("version") == 3 and line["state"] == "settled")


@live
async def test_a_program_that_cannot_start_is_a_502_each_time(tmp_path: Path) -> None:
    for app, why in {
        "broken_app:app": "RuntimeError: no database",
        "sick_app:app": "LifespanFailure: Lifespan startup failure. no cache",
        "missing_app:app": 'InputError: there is no module "missing_app"',
    }.items():
        async with running(tmp_path, app) as rig:
            for _ in range(2):
                assert await rig.get("/") == (502, {"message": "Internal server error"})
            status = await rig.until(lambda s: not s["environments"])
            assert (status["refusals"], status["invocations"]) == ({"init-failed": 2}, 0)
            failed = await rig.told(lambda line: line.get("state") == "failed")
            assert failed["error"].startswith(why)


@live
async def test_a_starter_that_comes_late_hears_what_is_wanted(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app") as rig:
        rig.writer.close()
        await rig.writer.wait_closed()
        await rig.listening
        request = asyncio.create_task(rig.get("/"))
        await rig.until(lambda s: s["waiting"] == 1)
        rig.reader, rig.writer = await asyncio.open_unix_connection(rig.folder / "control.sock")
        rig.begin()
        assert (await request)[0] == 200


@live
async def test_a_front_that_cannot_listen_says_why(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app") as rig:
        taken = FrontConfig(
            function=rig.function, control=str(tmp_path / "second.sock"), port=int(rig.url.rpartition(":")[2])
        )
        too_long = replace(taken, control=str(tmp_path / ("x" * 120)))
        for config, why in ((taken, "address already in use"), (too_long, "path too long")):
            (tmp_path / "second.json").write_text(dump(config))
            second = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "holdfast.local.functions.front", "--config", tmp_path / "second.json",
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, said = await second.communicate()
            assert (second.returncode, said.decode().startswith("error: cannot listen on")) == (3, True)
            assert why in said.decode()
            assert "Traceback" not in said.decode()


@live
async def test_a_line_that_is_not_an_order_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path, "asgi_app:app"):
        for line, error in {
            b"[]": "not an order: []",
            b"nonsense": "Expecting value",
            b'{"limits": {"concurrency": -1}}': "concurrency is -1, not a number from 0 up",
            b'{"zone": "eu-west-1a", "state": "wobbly"}': "not an order",
        }.items():
            assert error in (await ask(tmp_path, line + b"\n"))["error"]
