"""Turns a plan into running parts, in an order that lets every failure be undone."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from holdfast import facts
from holdfast.errors import EnvironmentProblem
from holdfast.local import certs, disk, inotify
from holdfast.local import plan as plans
from holdfast.local.addresses import claim, free_port_on_all
from holdfast.local.balancers import Balancers
from holdfast.local.crew import Crew, CrewSetup
from holdfast.local.dns.checks import Check, HealthChecks, Surroundings
from holdfast.local.dns.prober import Address, Name
from holdfast.local.dns.responder import Responder
from holdfast.local.dns.server import DnsServer, Emit
from holdfast.local.envoy import xds
from holdfast.local.envoy.routes import HEALTH_PATH
from holdfast.local.events import EventLog
from holdfast.local.fleet import Fleet
from holdfast.local.plan import Plan, Ports, Site
from holdfast.local.region import Region, Workforce
from holdfast.local.release import Release
from holdfast.local.release import make as make_release
from holdfast.local.rundir import RunDir
from holdfast.local.starter import Functions, FunctionsSetup
from holdfast.local.supervisor import Exit, GuardLine, Supervisor
from holdfast.local.supervisor import Options as SupervisorOptions
from holdfast.model import Event, ProcessSpec, ProcessState, Role, Topology

FAILED_OFTEN = 3
"""Failed starts of the program after which waiting for it is pointless."""


class Wishes(Protocol):
    """What of the system's options matters here."""

    @property
    def speed(self) -> float: ...
    @property
    def http_port(self) -> int: ...
    @property
    def https_port(self) -> int: ...
    @property
    def dns_port(self) -> int: ...


@dataclass(slots=True)
class Built:
    """The parts of a running system."""

    plan: Plan
    run: RunDir
    events: EventLog
    supervisor: Supervisor
    dns: DnsServer
    checks: HealthChecks
    regions: dict[str, Region] = field(default_factory=dict)
    permanent: tuple[str, ...] = ()
    failures: list[str] = field(default_factory=list)

    @property
    def releases(self) -> Path:
        """Folder of the deployed copies of the program."""
        return self.plan.site.folder / "releases"

    def emit(self, event: Event) -> None:
        """Log an event, and remember why the program failed to start."""
        if event.kind == "failed-to-start":
            self.failures.append(event.message)
        self.events.append(event)

    def last_failure(self) -> str:
        """Why the program last failed to start; empty when it has not."""
        return self.failures[-1] if self.failures else ""

    def failed_often(self) -> bool:
        """The program has failed to start too often to hope."""
        return len(self.failures) >= FAILED_OFTEN

    def urls(self) -> dict[str, str]:
        """Addresses for people, flat: ``edge``, ``edge_http``, ``dns``, ``api_name``, ``gateway.<region>``."""
        plan, ports = self.plan, self.plan.site.ports
        named = {
            f"gateway.{region}": f"http://{plan.zone_host[zones[0]]}:{ports.gateway}/"
            for region, zones in plan.topology.zones.items()
        }
        named |= {
            "dns": f"{plans.LOOPBACK}:{ports.dns}",
            "api_name": plan.api_name,
            "domain": plan.topology.domain,
        }
        if plan.edge is not None:
            named |= {
                "edge": f"https://localhost:{ports.https}/",
                "edge_http": f"http://localhost:{ports.http}/",
            }
        return named

    def sync_client(self) -> None:
        """Upload the client site: copy it into the bucket's folder."""
        source, edge = self.plan.topology.app.client_dir, self.plan.edge
        if source and edge and edge.bucket_dir:
            beside = Path(edge.bucket_dir + ".new")
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(source, beside)
            shutil.rmtree(edge.bucket_dir, ignore_errors=True)
            beside.rename(edge.bucket_dir)


async def build(topology: Topology, project: str, wishes: Wishes, stack: AsyncExitStack) -> Built:
    """Start every part of ``topology``; ``stack`` undoes what has been done so far.

    Raises:
        EnvironmentProblem: something on this machine is in the way; says what and what to do.
    """
    zones = sum(len(topology.zones[region]) for region in topology.regions)
    inotify.require(inotify.PER_ZONE_PROXY * zones + inotify.PER_EDGE * len(topology.of_role(Role.CDN)))
    run = RunDir.create(Path(project))
    stack.callback(run.close)
    with disk.writing(run.root):
        plan = _plan(topology, run, wishes, stack)
        built = _parts(plan, run, stack)
        _write_files(built)
    await stack.enter_async_context(built.supervisor)
    await _start_dns(built, stack)
    built.permanent = await _start_processes(built)
    _start_regions(built, wishes, stack)
    return built


def _plan(topology: Topology, run: RunDir, wishes: Wishes, stack: AsyncExitStack) -> Plan:
    lease = stack.enter_context(claim([len(topology.zones[region]) for region in topology.regions]))
    ports = _ports(topology, wishes, lease.network.ips([len(topology.zones[r]) for r in topology.regions]))
    made = certs.ensure(run.root.parent / "ca", ("localhost", topology.domain, "127.0.0.1"))
    sockets = run.socket("x").parent
    site = Site(
        run.config,
        run.logs,
        sockets,
        lease.network,
        ports,
        str(made.cert_path),
        str(made.key_path),
        str(made.ca_path),
    )
    return plans.make(topology, site)


def _ports(topology: Topology, wishes: Wishes, addresses: tuple[str, ...]) -> Ports:
    """Every port is checked before anything starts, so that all that are taken are named at once."""
    problems: list[str] = []
    wanted = {"dns": wishes.dns_port}
    if topology.of_role(Role.CDN):
        wanted |= {"http": wishes.http_port, "https": wishes.https_port}
    found = {"http": 0, "https": 0}
    for name, port in wanted.items():
        try:
            found[name] = free_port_on_all([plans.LOOPBACK], port, exclude=list(found.values()))
        except EnvironmentProblem as error:
            problems.append(f"--{name}-port: {error.message}")
    if problems:
        raise EnvironmentProblem("\n".join(problems), hint="choose another, or 0 for any that is free")
    gateway = free_port_on_all(addresses, exclude=list(found.values()))
    return Ports(found["http"], found["https"], gateway, found["dns"])


def _parts(plan: Plan, run: RunDir, stack: AsyncExitStack) -> Built:
    events = EventLog(run.events)
    stack.callback(events.close)

    def emit(kind: str, subject: str, message: str, data: Mapping[str, object]) -> None:
        events.append(Event(time.time(), kind, subject, message, data))

    guard = GuardLine(run.info.run_id, run.journal.record)
    exits: list[Built] = []
    options = SupervisorOptions(on_exit=lambda exit_: _on_exit(exits[0], exit_))
    supervisor = Supervisor(run.info.run_id, events.append, guard, options)
    dns, checks = _name_service(plan, emit)
    built = Built(plan, run, events, supervisor, dns, checks)
    exits.append(built)
    return built


def _on_exit(built: Built, ended: Exit) -> None:
    """A replica's end is its region's business; every other process is the supervisor's own."""
    for region in built.regions.values():
        if ended.view.name in region.workforce.nodes() and ended.view.state in (
            ProcessState.EXITED,
            ProcessState.FATAL,
        ):
            region.workforce.exited(ended.view.name, ended.view.reason)


def _write_files(built: Built) -> None:
    plan = built.plan
    for folder, files in plans.files(plan).items():
        xds.write(Path(folder), files)
    built.sync_client()
    make_release(plan.topology.app, 1, built.releases)


# ---------------------------------------------------------------------------------------------- DNS


def _name_service(plan: Plan, emit: Emit) -> tuple[DnsServer, HealthChecks]:
    """The server and the checks know each other: answers depend on health, checks ask for addresses."""
    checks: list[HealthChecks] = []

    def healthy(check: str) -> bool:
        return not checks or checks[0].is_healthy(check)

    responder = Responder(plans.hosted_zone(plan), healthy, viewer=_viewer(plan))
    dns = DnsServer(responder, emit)
    surroundings = Surroundings(lookup=dns.lookup, emit=emit)
    checks.append(HealthChecks(surroundings, on_change=lambda check, healthy: dns.refresh()))
    for check in _checks(plan):
        checks[0].add(check)
    return dns, checks[0]


def _viewer(plan: Plan) -> Callable[[str], str | None]:
    """Where a question comes from: a region's own address, else the person at this machine, near the first region."""
    regions, network = plan.topology.regions, plan.site.network

    def viewer(address: str) -> str | None:
        index = network.region_of(address)
        return regions[index] if index is not None and index < len(regions) else regions[0]

    return viewer


def _checks(plan: Plan) -> Iterator[Check]:
    """One check a region, which asks the program through the region's entry, and one for each balancer node."""
    connect_s, response_s = (
        facts.number(f"route53.{name}") for name in ("tcp_connect_timeout", "http_response_timeout")
    )
    policy, port = plans.dns_policy(plan.topology), plan.site.ports.gateway
    probe = replace(policy, path=HEALTH_PATH)
    for region in plan.topology.regions:
        yield Check(
            plans.region_check(region), Name(plan.regional_name(region), port), policy, connect_s, response_s
        )
    for zone, host in plan.zone_host.items():
        yield Check(plans.zone_check(zone), Address(host, port), probe, connect_s, response_s)


async def _start_dns(built: Built, stack: AsyncExitStack) -> None:
    await built.dns.start(plans.LOOPBACK, built.plan.site.ports.dns)
    stack.push_async_callback(built.dns.stop)
    built.checks.start()
    stack.push_async_callback(built.checks.stop)


# ---------------------------------------------------------------------------------------------- processes


async def _start_processes(built: Built) -> tuple[str, ...]:
    specs: tuple[ProcessSpec, ...] = plans.processes(built.plan)
    await asyncio.gather(*(built.supervisor.start(spec) for spec in specs))
    return tuple(spec.name for spec in specs)


# ---------------------------------------------------------------------------------------------- regions


def _start_regions(built: Built, wishes: Wishes, stack: AsyncExitStack) -> None:
    for name in built.plan.topology.regions:
        region = built.regions[name] = _region(built, name, wishes)
        stack.push_async_callback(_stop_region, region)
        region.balancers.start()
        region.workforce.start()


async def _stop_region(region: Region) -> None:
    await region.workforce.stop()
    await region.balancers.close()


def _region(built: Built, name: str, wishes: Wishes) -> Region:
    plan = built.plan
    zones = plan.topology.zones[name]
    balancers = Balancers(
        (plan.proxies[zone] for zone in zones), {zone: plan.zone_folder(zone) for zone in zones}
    )
    workforce = _WORKFORCES[plan.topology.compute(name).role](built, name, balancers, wishes)
    return Region(name, plan, built.supervisor, balancers, workforce)


def _crew(built: Built, name: str, balancers: Balancers, wishes: Wishes) -> Workforce:
    plan = built.plan
    group = plan.topology.compute(name)
    fleet = Fleet(group, len(group.nodes), speed=wishes.speed)
    setup = CrewSetup(
        plan.topology.app,
        built.supervisor,
        balancers,
        plan.logs,
        plan.zone_host,
        built.emit,
        idle_s=_idle_s(plan.topology, name),
    )
    return Crew(fleet, setup, Release(1, built.releases / "1"))


def _idle_s(topology: Topology, region: str) -> float | None:
    """How long the region's load balancer keeps an idle connection; ``None`` without one."""
    balancers = topology.of_role(Role.BALANCER, region=region)
    return balancers[0].behaviour.idle_timeout_s if balancers else None


def _functions(built: Built, name: str, balancers: Balancers, wishes: Wishes) -> Workforce:
    plan = built.plan
    setup = FunctionsSetup(plan, name, built.supervisor, balancers, built.emit)
    return Functions(setup, Release(1, built.releases / "1"))


_WORKFORCES = {Role.WORKERS: _crew, Role.FUNCTIONS: _functions}
