"""What a front and an environment are told: the function's settings, and how to start an environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import EnvironmentProblem

ACCOUNT = "000000000000"
"""Stands where AWS puts the account id; the same that local AWS endpoints use."""

HANDLER = "holdfast.local.functions.handler.handler"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionConfig:
    """One function in one region.

    - ``app``: import string of the ASGI or WSGI program, ``module:attribute``.
    - ``concurrency``: requests in flight before Lambda throttles.
    - ``timeout_s``: the function's timeout; it covers the handler, not the initialisation.
    - ``init_timeout_s``: initialisation that costs the function nothing; past it, initialisation is charged
      to ``timeout_s`` (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).
    - ``integration_timeout_s``: how long API Gateway waits; ``None`` where no API Gateway is in front.
    - ``max_payload_bytes``: of the event and of the response, as JSON, base64 included.
    - ``idle_s``: AWS does not publish how long it keeps an idle environment; this is how long we do.
    - ``throttled_status``: 500 behind a proxy integration, 429 from a function URL.
    - ``starts_at_once``: environments that may initialise at the same time. AWS starts as many as it needs;
      this machine would choke on hundreds of interpreters, so more requests wait for the next free one.
    """

    name: str
    app: str
    region: str
    zones: tuple[str, ...]
    concurrency: int
    timeout_s: float
    memory_mb: int
    max_payload_bytes: int
    init_timeout_s: float
    integration_timeout_s: float | None
    provisioned: int = 0
    idle_s: float = 300.0
    stage: str = "prod"
    binary_media_types: tuple[str, ...] = ("*/*",)
    throttled_status: int = 500
    starts_at_once: int = 4

    def arn(self, version: int) -> str:
        """The ARN of one version of the function."""
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{self.name}:{version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontConfig:
    """Where a front listens.

    ``port`` 0 takes a free one, which ``status`` tells; ``control`` is a socket's path; ``version`` is what the
    alias points to at first; ``drain_s`` is how long a stopping front waits for answers.
    """

    function: FunctionConfig
    control: str
    host: str = "127.0.0.1"
    port: int = 0
    version: int = 1
    drain_s: float = 5.0


def dump(config: FrontConfig) -> str:
    """The text of ``front.json``."""
    return json.dumps(asdict(config), indent=2)


def load(path: Path) -> FrontConfig:
    """Read ``front.json``.

    Raises:
        EnvironmentProblem: the file cannot be read or is not a front's configuration.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        function: Mapping[str, Any] = fields.pop("function")
        return FrontConfig(function=FunctionConfig(**_tuples(function)), **fields)
    except OSError as error:
        raise EnvironmentProblem(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EnvironmentProblem(f"{path} is not the configuration of a function front: {error}") from error


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


@dataclass(frozen=True, slots=True)
class Start:
    """An environment that is wanted. ``runtime_api`` is the ``host:port`` only this environment talks to.

    AWS's Python runtime client takes a bare ``host:port`` (libcurl would accept a path behind it, its
    ``http.client`` half would not), so a port of its own is what tells environments apart.
    """

    environment: str
    zone: str
    version: int
    runtime_api: str
    provisioned: bool = False


def environment_spec(function: FunctionConfig, start: Start) -> tuple[tuple[str, ...], dict[str, str]]:
    """Command and environment variables of one environment; its working directory is the release's folder.

    The variables are those of https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    env = {
        "HOLDFAST_APP": function.app,
        "HOLDFAST_ENVIRONMENT": start.environment,
        "HOLDFAST_ZONE": start.zone,
        "AWS_LAMBDA_RUNTIME_API": start.runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": str(start.version),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency" if start.provisioned else "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"[{start.version}]{start.environment}",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{python}",
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "_HANDLER": HANDLER,
    }
    return (sys.executable, "-m", "awslambdaric", HANDLER), env
