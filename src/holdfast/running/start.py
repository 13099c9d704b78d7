"""Starting a system: in the foreground, in the background, or only planned."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from holdfast import manifest, topology
from holdfast.errors import EnvironmentProblem, HoldfastError
from holdfast.model import Topology
from holdfast.running.logs import event_line

POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Request:
    """The options of ``holdfast up``."""

    path: Path
    env: str | None
    as_json: bool
    quiet: bool
    speed: float
    http_port: int
    https_port: int
    dns_port: int
    timeout_s: float
    ready_fd: int | None = None

    @property
    def project(self) -> Path:
        """The manifest's folder."""
        return self.path.parent

    def resolve(self) -> Topology:
        """The topology; raises :class:`InputError` with every problem of the manifest."""
        return topology.resolve(manifest.load(self.path, self.env))


# ---------------------------------------------------------------------------------------------- up


def up(request: Request) -> None:
    """Run in the foreground until Ctrl-C, SIGTERM or ``holdfast down``."""
    resolved = request.resolve()
    asyncio.run(_up(request, resolved))


async def _up(request: Request, resolved: Topology) -> None:
    from holdfast.local.system import Options, System

    options = Options(
        request.speed,
        request.http_port,
        request.https_port,
        request.dns_port,
        ready_timeout_s=request.timeout_s,
    )
    reporter = Reporter(request)
    starting = asyncio.ensure_future(System.start(resolved, str(request.project), options, reporter.progress))
    stop = _signals(starting)
    try:
        system = await starting
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except HoldfastError as error:
        reporter.failed(error)
        raise
    try:
        reporter.ready({**system.snapshot.urls()}, system)
        show = asyncio.create_task(reporter.follow(system))
        await _first(stop.wait(), system.stopping.wait())
        show.cancel()
        await asyncio.gather(show, return_exceptions=True)
    finally:
        reporter.say("stopping")
        await system.stop()
    reporter.say("stopped; nothing is left running")


async def _first(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _signals(starting: asyncio.Future[Any]) -> asyncio.Event:
    """The first signal asks for a stop in good order; the second ends at once (the guard cleans up)."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()
        starting.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    return stop


class Reporter:
    """Tells the person (or the waiting parent of ``--detach``) how the start goes and what happens then."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._pipe = os.fdopen(request.ready_fd, "w") if request.ready_fd is not None else None

    def say(self, text: str) -> None:
        """A line of progress on standard error."""
        if self._pipe is None and not self._request.quiet:
            click.echo(text, err=True)

    def progress(self, text: str) -> None:
        """Progress of the start."""
        self._tell({"progress": text})
        self.say(f"waiting for {text}")

    def failed(self, error: HoldfastError) -> None:
        """The start failed."""
        self._tell({"error": error.message, "hint": error.hint, "exit_code": error.exit_code})

    def ready(self, urls: Mapping[str, Any], system: Any) -> None:
        """The system serves."""
        answer = {
            "urls": urls,
            "run_dir": str(system.built.run.root),
            "ready_s": system.ready_s,
            "memory_mb": system.snapshot.memory_mb(),
            "speed": self._request.speed,
            "ca": system.built.plan.site.ca,
        }
        self._tell({"ready": answer})
        if self._pipe is not None:
            self._pipe.close()
        elif self._request.as_json:
            click.echo(json.dumps(answer))
        else:
            click.echo(ready_text(answer))

    def _tell(self, row: Mapping[str, Any]) -> None:
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.write(json.dumps(row) + "\n")
                self._pipe.flush()

    async def follow(self, system: Any) -> None:
        """A live table on a terminal, a line an event elsewhere."""
        if self._request.ready_fd is not None:
            await asyncio.Event().wait()
        elif sys.stdout.isatty() and not self._request.as_json:
            from holdfast.report.status import Live

            with Live() as live:
                while True:
                    recent = [
                        numbered.event
                        for numbered in system.built.events.after(system.built.events.last - 200)
                    ]
                    live.show(system.status(), [event for event in recent if event.kind != "process"][-6:])
                    await asyncio.sleep(POLL_S)
        else:
            await self._lines(system)

    async def _lines(self, system: Any) -> None:
        after = system.built.events.last
        while True:
            after, events = await system.events(after, 5.0)
            for event in events:
                if event.kind == "process":
                    continue
                row = {"t": event.t, "kind": event.kind, "subject": event.subject, "message": event.message}
                click.echo(json.dumps(row) if self._request.as_json else event_line(row))


def ready_text(answer: Mapping[str, Any]) -> str:
    """What ``up`` prints once the system serves."""
    urls = answer["urls"]
    lines = [f"ready in {answer['ready_s']:.1f} s, {answer['memory_mb']:.0f} MB"]
    if answer["speed"] != 1:
        lines.append(f"speed {answer['speed']:g}: launches and scaling run that much faster than on AWS")
    if "edge" in urls:
        lines.append(
            f"  edge      {urls['edge_http']}   {urls['edge']} (curl --cacert {os.path.relpath(answer['ca'])})"
        )
    lines += [f"  gateway   {url}   {region}" for region, url in urls["gateways"].items()]
    lines.append(f"  dns       {urls['dns']}   {urls['api_name']}")
    lines.append(
        "try: holdfast status, holdfast kill <zone>, holdfast reload; holdfast down or Ctrl-C stops it"
    )
    return "\n".join(lines)


def up_detached(request: Request) -> None:
    """Start ``holdfast up`` in the background and return when it is ready; its failure is ours."""
    from holdfast.local.supervisor.daemon import launch

    request.resolve()
    argv = [sys.executable, "-m", "holdfast", "up", str(request.project), "--speed", str(request.speed)]
    argv += ["--http-port", str(request.http_port), "--https-port", str(request.https_port)]
    argv += ["--dns-port", str(request.dns_port), "--timeout", str(request.timeout_s)]
    argv += ["--env", request.env] if request.env else []
    for row in launch(argv, request.project):
        if "error" in row:
            raise _as_error(row)
        if "ready" in row:
            click.echo(json.dumps(row["ready"]) if request.as_json else ready_text(row["ready"]))
            return
        if not request.quiet:
            click.echo(f"waiting for {row['progress']}", err=True)
    raise EnvironmentProblem(
        "the system ended before it was ready", hint="run `holdfast up` without --detach to see why"
    )


def _as_error(row: Mapping[str, Any]) -> HoldfastError:
    error = EnvironmentProblem(row["error"], hint=row.get("hint"))
    error.exit_code = int(row.get("exit_code", 3))
    return error


def show_plan(request: Request) -> None:
    """Print what ``up`` would start."""
    from holdfast.local.addresses import Network
    from holdfast.local.plan import Ports, Site, files, make, processes

    folder = request.project / ".holdfast" / "run"
    ports = Ports(request.http_port, request.https_port, 0, request.dns_port)
    plan = make(request.resolve(), Site(folder / "config", folder / "logs", folder, Network.pick(), ports))
    rows = [{"name": spec.name, "argv": list(spec.argv), "cwd": spec.cwd} for spec in processes(plan)]
    nodes = [
        {"name": node.id, "component": group.component, "address": plan.zone_host.get(node.zone or "")}
        for region in plan.topology.regions
        for group in [plan.topology.compute(region)]
        for node in group.nodes
    ]
    written = {place: sorted(names) for place, names in files(plan).items()}
    if request.as_json:
        click.echo(json.dumps({"processes": rows, "nodes": nodes, "files": written}))
        return
    click.echo(f"{len(rows)} processes and {len(nodes)} replicas")
    for row in rows:
        click.echo(f"  {row['name']:24} {' '.join(row['argv'])}")
    for node in nodes:
        click.echo(f"  {node['name']:24} {node['component']} on {node['address']}")
    click.echo(f"{sum(map(len, written.values()))} files below {folder}")
