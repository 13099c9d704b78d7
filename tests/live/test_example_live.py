"""The example service answers as its client page expects, served the way a worker serves it."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import manifest

pytestmark = pytest.mark.live

EXAMPLE = Path(__file__).parents[2] / "examples" / "orders"
PLACE = {"HOLDFAST_REGION": "eu-west-1", "HOLDFAST_ZONE": "eu-west-1b", "HOLDFAST_NODE": "eu-west-1b/ecs-2"}

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("example") / "worker.log"


@pytest.fixture(scope="module")
def worker(log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.local.serve", "--app", "orders.api:app", "--port", "0"],
            cwd=EXAMPLE,
            env={**os.environ, **PLACE, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=output,
            stderr=output,
        )
    yield
    process.terminate()
    assert process.wait(20) == 0


@pytest.fixture
def ask(worker: None, log: Path, eventually: Callable[..., None]) -> Ask:
    """``ask(method, path, body)``: the status and the JSON answer."""
    eventually(lambda: "running on http" in log.read_text(), 30)
    (port,) = re.findall(r"running on http://[\d.]+:(\d+)", log.read_text())

    def call(method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
        headers = {"content-type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text)

    return call


def test_says_where_it_runs(ask: Ask) -> None:
    place = {"region": "eu-west-1", "zone": "eu-west-1b", "node": "eu-west-1b/ecs-2"}
    assert ask("GET", "/api/whereami") == (200, place)
    assert ask("GET", "/api/slow?ms=1") == (200, place)


def test_health(ask: Ask) -> None:
    assert ask("GET", "/health")[0] == 200


def test_an_order_is_taken_listed_and_found(ask: Ask) -> None:
    status, order = ask("POST", "/api/orders", {"item": " Blue kettle ", "quantity": 2})
    assert (status, order["item"], order["taken_by"]) == (201, "Blue kettle", "eu-west-1b/ecs-2")
    assert order in ask("GET", "/api/orders")[1]["orders"]
    assert ask("GET", f"/api/orders/{order['id']}") == (200, order)


@pytest.mark.parametrize(
    "body",
    [
        {"item": "", "quantity": 1},
        {"item": "x", "quantity": 0},
        {"item": "x"},
        {"item": "x", "quantity": 1, "y": 1},
    ],
)
def test_a_wrong_order_is_refused(ask: Ask, body: dict[str, object]) -> None:
    status, answer = ask("POST", "/api/orders", body)
    assert status == 422
    assert answer["detail"][0]["msg"]


def test_an_unknown_order_is_not_found(ask: Ask) -> None:
    assert ask("GET", "/api/orders/none")[0] == 404


def test_the_manifest_is_valid() -> None:
    loaded = manifest.load(EXAMPLE / "holdfast.toml")
    assert loaded.service.app == "orders.api:app"
    assert (EXAMPLE / (loaded.service.client or "") / "index.html").is_file()
