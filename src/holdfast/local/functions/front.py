"""The front of one function in one region: ``python -m holdfast.local.functions.front --config front.json``.

HTTP in, Runtime API out. This module only moves bytes and carries out what the scheduler decides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import EnvironmentProblem, HoldfastError
from holdfast.local.functions import config as configs
from holdfast.local.functions.config import FrontConfig, Start
from holdfast.local.functions.control import Control, Json, to_message
from holdfast.local.functions.event import Call, Malformed, Reply, to_event, to_reply
from holdfast.local.functions.messages import (
    Abandoned,
    Answered,
    Arrived,
    Dispatch,
    Exited,
    Forget,
    InitFailed,
    Initialised,
    Message,
    Ready,
    Refuse,
    Retire,
    StartEnvironment,
    Tick,
    VersionState,
    Want,
)
from holdfast.local.functions.metrics import Metrics
from holdfast.local.functions.pool import Phase
from holdfast.local.functions.refusals import Refusal, reply
from holdfast.local.functions.runtime_api import Invocation, Port
from holdfast.local.functions.scheduler import Scheduler
from holdfast.local.functions.wire import Connection, Exchange

try:
    from uvloop import new_event_loop
except ImportError:
    # Not built for Windows and for some interpreters; asyncio's own loop serves about half as many requests.
    new_event_loop = asyncio.new_event_loop  # type: ignore[assignment]

TICK_S = 0.05
log = logging.getLogger("holdfast.functions")


@dataclass(slots=True)
class Pending:
    """A request that has no answer yet. ``started`` is when an environment got it."""

    exchange: Exchange
    event: bytes
    accept: str
    trace_id: str
    started: float = 0.0


class Front:
    """Callers on one side, environments on the other. Runs on one event loop, without locks."""

    def __init__(self, config: FrontConfig) -> None:
        self.config = config
        self.function = config.function
        self.scheduler = Scheduler(config.function, config.version)
        self.metrics = Metrics()
        self.port = 0
        self._pending: dict[str, Pending] = {}
        self._ports: dict[str, Port] = {}
        self._starts: dict[str, Start] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._control = Control(Path(config.control), self._replay, self._order)
        self._server: asyncio.Server | None = None
        self._do: dict[type[Any], Callable[[Any], None]] = {
            StartEnvironment: self._start, Retire: self._retire, Forget: self._forget, Want: self._want,
            Dispatch: self._dispatch, Refuse: self._refuse, Initialised: self._initialised,
            VersionState: self._version_state,
        }  # fmt: skip

    async def open(self) -> None:
        """Listen for callers and on the control socket.

        Raises:
            EnvironmentProblem: the port is taken or the control socket cannot be made.
        """
        await self._control.open()
        place = f"{self.config.host}:{self.config.port}"
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._connect, self.config.host, self.config.port, backlog=1024
            )
        except OSError as error:
            raise EnvironmentProblem(f"cannot listen on {place}: {error.strerror}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._tick()

    async def close(self) -> None:
        """Take no more callers, wait up to ``drain_s`` for the answers that are due, hang up."""
        if self._server is not None:
            self._server.close()
        end = time.monotonic() + self.config.drain_s
        while self._pending and time.monotonic() < end:
            await asyncio.sleep(TICK_S)
        await self._control.close()
        for port in self._ports.values():
            port.close()

    # Callers.

    def _connect(self) -> Connection:
        return Connection(self._serve, self.function.max_payload_bytes)

    def _serve(self, exchange: Exchange) -> None:
        call = Call(exchange.method, exchange.target, exchange.headers, exchange.body, exchange.peer)
        event = json.dumps(to_event(call, self.function, time.time())).encode()
        if exchange.too_long or len(event) > self.function.max_payload_bytes:
            self._answer(exchange, self._refusal(Refusal.REQUEST_TOO_LONG))
            return
        request = str(uuid.uuid4())
        headers = {name.lower(): value.decode("latin-1") for name, value in exchange.headers}
        trace_id = headers.get(b"x-amzn-trace-id") or f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()}"
        self._pending[request] = Pending(exchange, event, headers.get(b"accept", ""), trace_id)
        exchange.on_gone = lambda: self._gone(request)
        self._tell(Arrived(time.monotonic(), request))

    def _gone(self, request: str) -> None:
        self._pending.pop(request, None)
        self._tell(Abandoned(time.monotonic(), request))

    def _answer(self, exchange: Exchange, answer: Reply) -> None:
        exchange.on_gone = None
        exchange.reply(answer.status, answer.headers, answer.body)

    def _refusal(self, refusal: Refusal) -> Reply:
        self.metrics.refusals[refusal] += 1
        return reply(refusal, self.function.throttled_status)

    # Environments (runtime_api.Listener).

    def on_next(self, environment: str) -> None:
        """It has initialised, or has finished its last request."""
        self._starts.pop(environment, None)
        self._tell(Ready(time.monotonic(), environment))

    def on_response(self, environment: str, request: str, answer: bytes | None) -> None:
        """The function has answered ``request``."""
        if answer is None:
            self._finish(environment, request, lambda _: self._refusal(Refusal.RESPONSE_TOO_LONG))
        else:
            self._finish(environment, request, lambda pending: self._translate(answer, pending))

    def on_error(self, environment: str, request: str, error: str) -> None:
        """The function has raised."""
        log.warning("%s: %s", environment, error)
        self._finish(environment, request, lambda _: self._refusal(Refusal.FUNCTION_ERROR))

    def on_init_error(self, environment: str, error: str) -> None:
        """The function could not be loaded."""
        log.warning("%s: init error: %s", environment, error)
        self._tell(InitFailed(time.monotonic(), environment, error))

    def on_closed(self, environment: str) -> None:
        """The process is gone, whether or not its starter has noticed."""
        self._tell(Exited(time.monotonic(), environment, "connection closed"))

    def _finish(self, environment: str, request: str, answer: Callable[[Pending], Reply]) -> None:
        now = time.monotonic()
        pending = self._pending.pop(request, None)
        self._tell(Answered(now, environment))
        if pending is not None:
            self.metrics.duration.add(now - pending.started)
            self._answer(pending.exchange, answer(pending))

    def _translate(self, answer: bytes, pending: Pending) -> Reply:
        try:
            return to_reply(answer, pending.accept, self.function.binary_media_types)
        except Malformed as error:
            log.warning("malformed proxy response: %s", error)
            return self._refusal(Refusal.MALFORMED)

    # What the scheduler decides.

    def _tell(self, message: Message) -> None:
        for action in self.scheduler.decide(message):
            self._do[type(action)](action)

    def _tick(self) -> None:
        self._tell(Tick(time.monotonic()))
        asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _start(self, action: StartEnvironment) -> None:
        loop = asyncio.get_running_loop()
        try:
            port = Port(action.environment, self.config.host, self, self.function.max_payload_bytes)
        except OSError as error:
            exited = Exited(time.monotonic(), action.environment, f"no port for its Runtime API: {error}")
            loop.call_soon(self._tell, exited)
            return
        self._ports[action.environment] = port
        task = loop.create_task(port.listen())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        start = Start(action.environment, action.zone, action.version, port.address, action.provisioned)
        self._starts[action.environment] = start
        self._control.say({"start": asdict(start)})

    def _retire(self, action: Retire) -> None:
        if action.reason == "timeout":
            log.warning("%s: task timed out after %.2f seconds", action.environment, self.function.timeout_s)
        self._control.say({"retire": action.environment, "reason": action.reason, "now": action.now})

    def _dispatch(self, action: Dispatch) -> None:
        now, pending = time.monotonic(), self._pending[action.request]
        pending.started = now
        self.metrics.invocations += 1
        deadline_ms = int((time.time() + action.deadline - now) * 1000)
        arn = self.function.arn(action.version)
        self._ports[action.environment].deliver(
            Invocation(action.request, pending.event, arn, deadline_ms, pending.trace_id)
        )

    def _refuse(self, action: Refuse) -> None:
        pending = self._pending.pop(action.request, None)
        if pending is not None:
            self._answer(pending.exchange, self._refusal(action.refusal))

    def _initialised(self, action: Initialised) -> None:
        self.metrics.initialised(action.seconds, provisioned=action.provisioned)

    def _forget(self, action: Forget) -> None:
        self._starts.pop(action.environment, None)
        if port := self._ports.pop(action.environment, None):
            port.close()

    def _want(self, action: Want) -> None:
        self._control.say({"want": action.total, "by_zone": dict(action.by_zone)})

    def _version_state(self, action: VersionState) -> None:
        self._control.say({"version": action.version, "state": action.state, "error": action.error})

    # The control socket.

    def _replay(self) -> list[Json]:
        zones = self.scheduler.pool.by_zone()
        leaving = [e for e in self.scheduler.pool if e.phase is Phase.LEAVING]
        return [
            {"want": zones.total(), "by_zone": dict(zones)},
            *({"start": asdict(start)} for start in self._starts.values()),
            *({"retire": e.id, "reason": "again", "now": False} for e in leaving),
        ]

    def _order(self, line: Json) -> Json | None:
        if line == {"status": True}:
            return {"status": self.status()}
        self._tell(to_message(line, time.monotonic()))
        return None

    def status(self) -> Json:
        """Everything an operator may ask: counters, and each environment's state."""
        now = time.monotonic()
        scheduler = self.scheduler
        return {
            "function": self.function.name,
            "port": self.port,
            "version": scheduler.version,
            "concurrency": scheduler.concurrency,
            "provisioned": scheduler.provisioned,
            "in_flight": scheduler.in_flight,
            "waiting": len(scheduler.waiting),
            "lost_zones": sorted(scheduler.lost),
            "environments": [
                {
                    "environment": e.id, "zone": e.zone, "version": e.version, "state": e.phase.value,
                    "for_s": round(now - e.since, 3), "served": e.served,
                }
                for e in scheduler.pool
            ],
            **self.metrics.snapshot(),
        }  # fmt: skip


async def run(config: FrontConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    front = Front(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await front.open()
    log.info("%s listens on %s:%d", config.function.name, config.host, front.port)
    await stop.wait()
    await front.close()


def main(argv: list[str] | None = None) -> int:
    """Run one front; the exit code is 0 after a signal, otherwise that of the error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(run(configs.load(arguments.config)))
    except HoldfastError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
