"""How one replica of the user's program is started: its command line, its environment, its address."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.components import component
from holdfast.local.release import Release
from holdfast.model import App, Group, Node, ProcessSpec, ReadyProbe

NOT_INHERITED = ("AWS_", "HOLDFAST_", "COVERAGE_", "COV_CORE_")
"""A rehearsal must not reach a real account by accident, so the shell's AWS settings stay outside."""

START_TIMEOUT_S = 60.0
"""A program that does not listen by then has failed to start."""


KEEP_ALIVE_MARGIN_S = 5.0
"""A target outlasts its balancer's idle connections by that; else a request meets one that is being closed."""

STOP_MARGIN_S = 1.0
"""What a program keeps of its stop time to end in good order after its last request."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a replica runs and from what. ``idle_s``: how long its balancer keeps an idle connection to it."""

    group: Group
    node: Node
    host: str
    port: int
    release: Release
    idle_s: float | None = None


def listens_on(app: App, zone_host: str) -> str:
    """The address a replica of ``app`` is reached on.

    An import string is served on the zone's own address. A command is told an address only if it asks for
    ``{host}``; otherwise it most likely listens on 127.0.0.1 or on every address, and both answer there.
    """
    asks_for_host = app.command is None or any("{host}" in part for part in app.command)
    return zone_host if asks_for_host else "127.0.0.1"


def spec(app: App, placement: Placement, logs: Path) -> ProcessSpec:
    """The process of one replica. It is not restarted in place: the fleet replaces it, as the platform would."""
    behaviour = placement.group.behaviour
    return ProcessSpec(
        name=placement.node.id,
        argv=_argv(app, placement),
        env=environment(app, placement),
        cwd=str(placement.release.folder),
        log=str(logs / f"{placement.node.id.replace('/', '_')}.log"),
        ready=ReadyProbe(placement.host, placement.port, timeout_s=START_TIMEOUT_S),
        stop_s=behaviour.stop_s or 0.0,
        restart=False,
        node=placement.node.id,
    )


def _argv(app: App, placement: Placement) -> tuple[str, ...]:
    if app.command is not None:
        values = {"{port}": str(placement.port), "{host}": placement.host}
        return tuple(_fill(part, values) for part in app.command)
    where = ("--host", placement.host, "--port", str(placement.port))
    return (
        *(sys.executable, "-m", "holdfast.local.serve", "--app", app.target or ""),
        *where,
        *_patience(placement),
    )


def _patience(placement: Placement) -> tuple[str, ...]:
    """How long the server waits: for its requests once it is told to stop, and for a connection's next one."""
    graceful_s = max(0.0, (placement.group.behaviour.stop_s or 0.0) - STOP_MARGIN_S)
    stopping = ("--graceful-s", f"{graceful_s:g}")
    if placement.idle_s is None:
        return stopping
    return (*stopping, "--keep-alive-s", f"{placement.idle_s + KEEP_ALIVE_MARGIN_S:g}")


def _fill(part: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        part = part.replace(placeholder, value)
    return part


def inherited() -> dict[str, str]:
    """The shell's environment, without what must not reach a rehearsal."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}


def environment(app: App, placement: Placement) -> dict[str, str]:
    """The whole environment of a replica: the shell's, the platform's identity, the user's own, and ``PORT``."""
    identity = component(placement.group.component).identity(placement.group, placement.node)
    fixed = {"PORT": str(placement.port), "HOST": placement.host, "PYTHONUNBUFFERED": "1"}
    return {**inherited(), **fixed, **identity, **app.env}
