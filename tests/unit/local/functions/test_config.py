"""What a front and an environment are told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.errors import EnvironmentProblem
from holdfast.local.functions.config import FrontConfig, FunctionConfig, Start, dump, environment_spec, load

FUNCTION = FunctionConfig(
    name="orders",
    app="orders.api:app",
    region="eu-west-1",
    zones=("eu-west-1a", "eu-west-1b"),
    concurrency=10,
    timeout_s=3.0,
    memory_mb=512,
    max_payload_bytes=6 * 1024 * 1024,
    init_timeout_s=10.0,
    integration_timeout_s=None,
)


def test_a_front_reads_what_was_dumped_for_it(tmp_path: Path) -> None:
    config = FrontConfig(function=FUNCTION, control="/tmp/c.sock", port=8080)
    (tmp_path / "front.json").write_text(dump(config))
    assert load(tmp_path / "front.json") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not the configuration"),
        ("[]", "is not the configuration"),
        ('{"function": {"name": "orders"}, "control": "c"}', "missing"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "front.json"
    path.write_text(text)
    with pytest.raises(EnvironmentProblem, match=message) as problem:
        load(path)
    assert str(path) in problem.value.message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="No such file"):
        load(tmp_path / "none.json")


def test_an_environment_runs_awss_runtime_client_with_lambdas_variables() -> None:
    start = Start("orders-7", "eu-west-1b", 3, "127.0.0.1:4567", provisioned=True)
    argv, env = environment_spec(FUNCTION, start)
    assert argv == (sys.executable, "-m", "awslambdaric", "holdfast.local.functions.handler.handler")
    assert env["AWS_LAMBDA_RUNTIME_API"] == "127.0.0.1:4567"
    assert env["AWS_LAMBDA_FUNCTION_VERSION"] == "3"
    assert env["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"
    assert (env["HOLDFAST_APP"], env["HOLDFAST_ZONE"]) == ("orders.api:app", "eu-west-1b")
    assert all(isinstance(value, str) for value in env.values())


def test_an_arn_names_the_version() -> None:
    assert FUNCTION.arn(3) == "arn:aws:lambda:eu-west-1:000000000000:function:orders:3"
