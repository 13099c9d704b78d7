"""A worker as its supervisor sees it: a process, a port, signals, an exit code."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

ASGI = """
import asyncio, sys

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        message = await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("lifespan ended", file=sys.stderr)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        print("slow began", file=sys.stderr)
        await asyncio.sleep(0.7)
    if scope["path"] == "/forever":
        print("slow began", file=sys.stderr)
        await asyncio.sleep(3600)
    body = f'{scope["scheme"]} {scope["client"][0]} {len(scope["headers"])}'.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

WSGI = """
import json, threading
import flask

app = flask.Flask(__name__)
together = threading.Barrier(3)

@app.get("/meet")
def meet():
    together.wait(20)
    return {"thread": threading.get_ident()}
"""

REFUSES = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


class Worker:
    """One ``python -m holdfast.local.serve`` on a free port."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / "worker.log"
        environment = {name: value for name, value in os.environ.items() if name != "PORT"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "holdfast.local.serve",
                    "--app",
                    "service:app",
                    "--port",
                    "0",
                    *arguments,
                ],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def address(self) -> tuple[str, int] | None:
        found = re.search(r"running on http://([\d.]+):(\d+)", self.said)
        return (found[1], int(found[2])) if found else None

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        assert self.address
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path, eventually: Callable[..., None]) -> Iterator[Start]:
    """``start(source, *arguments)``: a worker that serves ``source`` and is up, or has ended."""
    workers: list[Worker] = []

    def run(source: str, *arguments: str) -> Worker:
        (tmp_path / "service.py").write_text(source)
        workers.append(Worker(tmp_path, *arguments))
        eventually(lambda: workers[-1].address or workers[-1].process.poll() is not None, 30)
        return workers[-1]

    yield run
    for worker in workers:
        worker.end()


def test_listens_where_it_is_told_and_believes_the_balancer(start: Start) -> None:
    worker = start(ASGI, "--host", "127.9.8.7")
    assert worker.address
    assert worker.address[0] == "127.9.8.7"
    status, body = worker.get("/", {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})
    assert status == 200
    assert body.startswith(b"https 203.0.113.9 ")


def test_a_large_header_passes(start: Start) -> None:
    status, _ = start(ASGI).get("/", {"Cookie": "c" * 60_000})
    assert status == 200


def test_sigterm_lets_a_request_finish_then_ends_with_0(
    start: Start, eventually: Callable[..., None]
) -> None:
    worker = start(ASGI)
    answers: list[tuple[int, bytes]] = []
    asking = threading.Thread(target=lambda: answers.append(worker.get("/slow")))
    asking.start()
    eventually(lambda: "slow began" in worker.said)
    worker.process.send_signal(signal.SIGTERM)
    asking.join(20)
    assert [status for status, _ in answers] == [200]
    assert worker.process.wait(20) == 0
    assert "lifespan ended" in worker.said


def test_a_request_that_never_ends_is_cut_after_the_grace(
    start: Start, eventually: Callable[..., None]
) -> None:
    worker = start(ASGI, "--graceful-s", "0.5")
    assert worker.address
    connection = http.client.HTTPConnection(*worker.address, timeout=30)
    connection.request("GET", "/forever")
    eventually(lambda: "slow began" in worker.said)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(20) == 0
    connection.close()


def test_wsgi_requests_run_side_by_side(start: Start) -> None:
    worker = start(WSGI, "--threads", "3")
    answers: list[tuple[int, bytes]] = []
    asking = [threading.Thread(target=lambda: answers.append(worker.get("/meet"))) for _ in range(3)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    assert [status for status, _ in answers] == [200, 200, 200]
    assert len({json.loads(body)["thread"] for _, body in answers}) == 3


def test_a_program_that_refuses_to_start_ends_with_3(start: Start) -> None:
    worker = start(REFUSES)
    assert worker.process.wait(20) == 3
    assert "no database" in worker.said


def test_a_taken_port_ends_with_3_and_says_so(start: Start) -> None:
    taken = start(ASGI).address
    assert taken
    worker = start(ASGI, "--port", str(taken[1]))
    assert worker.process.wait(20) == 3
    assert "address already in use" in worker.said
