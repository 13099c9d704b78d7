"""How a replica is started: its command line and its environment, as values."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast import manifest, topology
from holdfast.local import workers
from holdfast.local.build import _idle_s
from holdfast.local.release import Release
from holdfast.local.workers import Placement
from holdfast.model import App, ProcessSpec, Topology

BY_NAME = App("orders", "/project", target="orders.api:app")


def resolved(**tables: dict[str, Any]) -> Topology:
    text = '[service]\nname = "orders"\ncommand = ["sh", "{port}"]\n'
    for table, values in tables.items():
        text += f"[{table}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
    return topology.resolve(manifest.parse(text))


def placed(place: Topology, idle_s: float | None = 60.0) -> Placement:
    group = place.compute("eu-west-1")
    return Placement(group, group.nodes[0], "127.64.1.1", 4321, Release(2, Path("/run/releases/2")), idle_s)


def spec(app: App, idle_s: float | None = 60.0, **tables: dict[str, Any]) -> ProcessSpec:
    return workers.spec(app, placed(resolved(**tables), idle_s), Path("/run/logs"))


def option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1]


def test_an_import_string_is_served_on_the_zones_own_address() -> None:
    argv = spec(BY_NAME).argv
    assert argv[:3] == (sys.executable, "-m", "holdfast.local.serve")
    assert (option(argv, "--app"), option(argv, "--host")) == ("orders.api:app", "127.64.1.1")
    assert option(argv, "--port") == "4321"


def test_the_server_finishes_requests_within_the_stop_time_and_keeps_connections_longer_than_the_balancer() -> (
    None
):
    argv = spec(BY_NAME, ecs={"stop_s": 12})
    assert argv.stop_s == 12
    assert option(argv.argv, "--graceful-s") == "11"
    assert option(argv.argv, "--keep-alive-s") == "65"


def test_a_platform_that_gives_no_time_to_stop_gets_none() -> None:
    placement = placed(resolved(ecs={"stop_s": 1}))
    assert option(workers.spec(BY_NAME, placement, Path("/l")).argv, "--graceful-s") == "0"


def test_without_a_balancer_the_servers_own_keep_alive_holds() -> None:
    assert "--keep-alive-s" not in spec(BY_NAME, idle_s=None).argv


def test_the_idle_time_is_that_of_the_regions_balancer() -> None:
    assert _idle_s(resolved(alb={"idle_timeout_s": 45}), "eu-west-1") == 45
    assert _idle_s(resolved(entry={"chain": '["apigateway"]'}), "eu-west-1") is None


def test_a_command_is_run_as_it_is_with_its_placeholders_filled() -> None:
    app = App(
        "orders", "/project", command=("./server", "--bind={host}:{port}", "{unknown}", "--port", "{port}")
    )
    assert spec(app).argv == ("./server", "--bind=127.64.1.1:4321", "{unknown}", "--port", "4321")


@pytest.mark.parametrize(
    ("app", "address"),
    [
        (BY_NAME, "127.64.1.2"),
        (App("a", "/", command=("x", "{host}:{port}")), "127.64.1.2"),
        (App("a", "/", command=("x", "{port}")), "127.0.0.1"),
    ],
)
def test_a_command_that_asks_for_no_host_is_looked_for_on_127_0_0_1(app: App, address: str) -> None:
    assert workers.listens_on(app, "127.64.1.2") == address


def test_the_process_is_the_nodes_own_in_the_folder_of_its_release() -> None:
    process = spec(BY_NAME)
    assert (process.name, process.node) == ("eu-west-1a/ecs-1", "eu-west-1a/ecs-1")
    assert (process.cwd, process.log) == ("/run/releases/2", "/run/logs/eu-west-1a_ecs-1.log")
    assert process.restart is False, "the fleet replaces it, as the platform would"
    assert process.ready is not None
    assert (process.ready.host, process.ready.port) == ("127.64.1.1", 4321)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "HOLDFAST_NODE",
        "COVERAGE_PROCESS_START",
    ):
        monkeypatch.setenv(name, "the shell's")
    for name in ("PORT", "LANG_OF_MINE"):
        monkeypatch.setenv(name, "the shell's")


@pytest.mark.usefixtures("shell")
def test_an_account_of_the_shell_is_out_of_reach() -> None:
    env = spec(BY_NAME).env
    assert {"AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "COVERAGE_PROCESS_START"}.isdisjoint(env)
    assert env["LANG_OF_MINE"] == "the shell's"


@pytest.mark.usefixtures("shell")
def test_a_replica_knows_where_it_runs_and_its_port() -> None:
    env = spec(BY_NAME).env
    assert env["AWS_REGION"] == env["HOLDFAST_REGION"] == "eu-west-1"
    assert (env["HOLDFAST_ZONE"], env["HOLDFAST_NODE"]) == ("eu-west-1a", "eu-west-1a/ecs-1")
    assert env["AWS_EXECUTION_ENV"] == "AWS_ECS_FARGATE"
    assert (env["PORT"], env["HOST"]) == ("4321", "127.64.1.1")


@pytest.mark.usefixtures("shell")
def test_the_manifests_own_variables_win() -> None:
    mine = {"PORT": "80", "AWS_REGION": "mine", "LANG_OF_MINE": "manifest"}
    env = spec(App("orders", "/project", target="orders.api:app", env=mine)).env
    assert {name: env[name] for name in mine} == mine
