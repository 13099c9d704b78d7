"""From a topology to what will run on this machine: addresses, files, processes. A value; nothing happens yet.

::

    config/                      inside the project's .holdfast/run/
    ├── edge/                    the edge Envoy's and nginx's configuration, cache and client site
    ├── zones/eu-west-1a/        one zone proxy's configuration
    ├── functions/eu-west-1/     the function front's configuration
    └── releases/1/              the program as deployed
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.local.addresses import Network
from holdfast.local.dns.zone import Alias, HostedZone, Record, Routing
from holdfast.local.dns.zones import hosted
from holdfast.local.envoy import edge as edges
from holdfast.local.envoy import zone as zones
from holdfast.local.envoy.edge import Edge, Origin
from holdfast.local.envoy.zone import ZoneProxy
from holdfast.model import Group, HealthCheck, ProcessSpec, ReadyProbe, Role, Topology

PROXY_ROLES = (Role.GATEWAY, Role.BALANCER)
"""Roles whose node in a zone is that zone's proxy process."""

DOOR_ROLES = (*PROXY_ROLES, Role.WORKERS, Role.FUNCTIONS)
"""Roles that can be the first block of a region on a request's way."""

PROXY_STOP_S = 3.0
LOOPBACK = "127.0.0.1"
"""Where a person's browser and resolver find the edge and the name server."""


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP/UDP ports. ``gateway`` is the same on every zone's address, since DNS answers carry no port."""

    http: int
    https: int
    gateway: int
    dns: int


@dataclass(frozen=True, slots=True)
class Site:
    """Where on this machine a run lives: its folders (one for unix sockets), its network and ports."""

    folder: Path
    logs: Path
    sockets: Path
    network: Network
    ports: Ports
    certificate: str = ""
    key: str = ""
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will be started, resolved to addresses."""

    topology: Topology
    site: Site
    proxies: Mapping[str, ZoneProxy]
    zone_host: Mapping[str, str]
    edge: Edge | None

    @property
    def api_name(self) -> str:
        """The DNS name with the regions' routing policy: the CDN's origin, or what clients use without a CDN."""
        return _api_name(self.topology)

    def regional_name(self, region: str) -> str:
        """The DNS name of one region's entry."""
        return f"{region}.{self.topology.domain}"

    def region_of(self, zone: str) -> str:
        """The region a zone is in."""
        return self.proxies[zone].region

    def zone_folder(self, zone: str) -> Path:
        """Working directory of a zone's proxy."""
        return self.site.folder / "zones" / zone

    @property
    def edge_folder(self) -> Path:
        """Working directory of the edge's two processes."""
        return self.site.folder / "edge"

    @property
    def logs(self) -> Path:
        """Folder of every process's log."""
        return self.site.logs


def make(topology: Topology, site: Site) -> Plan:
    """Place ``topology`` on this machine."""
    zone_host = {
        zone: site.network.zone_ip(r, z)
        for r, region in enumerate(topology.regions)
        for z, zone in enumerate(topology.zones[region])
    }
    proxies = {
        zone: _proxy(topology, site, region, zone, zone_host[zone])
        for region in topology.regions
        for zone in topology.zones[region]
    }
    return Plan(topology, site, proxies, zone_host, _edge(topology, site))


def _api_name(topology: Topology) -> str:
    """Behind a CDN the API has an origin name of its own; else the domain itself is routed."""
    return f"origin.{topology.domain}" if topology.of_role(Role.CDN) else topology.domain


def _proxy(topology: Topology, site: Site, region: str, zone: str, host: str) -> ZoneProxy:
    chain = topology.of_role(*PROXY_ROLES, region=region)
    compute = topology.compute(region)
    return ZoneProxy(
        region=region,
        zone=zone,
        host=host,
        port=site.ports.gateway,
        admin_socket=str(site.sockets / f"{zone}.sock"),
        chain=chain,
        compute=compute,
        link=topology.link(chain[-1].id, compute.id),
        region_zones=len(topology.zones[region]),
        access_log=str(site.logs / f"{zone}_access.log"),
    )


def _edge(topology: Topology, site: Site) -> Edge | None:
    cdn = topology.of_role(Role.CDN)
    if not cdn:
        return None
    functions = topology.of_role(Role.EDGE_FUNCTION)
    return Edge(
        host=LOOPBACK,
        http_port=site.ports.http,
        https_port=site.ports.https,
        admin_socket=str(site.sockets / "edge.sock"),
        access_log=str(site.logs / "edge_access.log"),
        cdn=cdn[0],
        edge_function=functions[0] if functions else None,
        bucket_dir=str(site.folder / "edge" / "bucket") if topology.app.client_dir else None,
        api_hostname=_api_name(topology),
        origins=_origins(topology, cdn[0], site),
        dns=(LOOPBACK, site.ports.dns),
        certificate=site.certificate,
        key=site.key,
        folder=str(site.folder / "edge"),
        websockets=not topology.of_role(Role.GATEWAY),
    )


def _origins(topology: Topology, cdn: Group, site: Site) -> tuple[Origin, ...]:
    links = [link for link in topology.links if link.source == cdn.id and topology.group(link.target).region]
    return tuple(
        Origin(region, f"{region}.{topology.domain}", site.ports.gateway, link.priority)
        for link in links
        if (region := topology.group(link.target).region)
    )


# ---------------------------------------------------------------------------------------------- DNS


def region_check(region: str) -> str:
    """Id of the health check of a whole region."""
    return f"region:{region}"


def zone_check(zone: str) -> str:
    """Id of the health check of one zone's balancer node."""
    return f"zone:{zone}"


def dns_policy(topology: Topology) -> HealthCheck:
    """What Route 53's checkers do, from the DNS component.

    Raises:
        ValueError: the DNS component states no health check; the contract test forbids it.
    """
    health = topology.of_role(Role.DNS)[0].behaviour.health
    if health is None:
        raise ValueError("the DNS component states no health check")
    return health


def hosted_zone(plan: Plan) -> HostedZone:
    """The records: the viewers' name, the routed API name, and one name a region with its zones' addresses."""
    topology = plan.topology
    dns = topology.of_role(Role.DNS)[0]
    ttl_s = round(dns.behaviour.ttl_s or 0)
    evaluate: bool = dns.settings.evaluate_target_health
    records = [*_regional_records(plan, ttl_s), *_routed_records(plan, evaluate_target_health=evaluate)]
    if plan.edge is not None:
        records.append(Record(topology.domain, values=(plan.edge.host,), ttl_s=ttl_s))
    return hosted(topology.domain, records)


def _regional_records(plan: Plan, ttl_s: int) -> list[Record]:
    return [
        Record(
            plan.regional_name(plan.region_of(zone)),
            values=(host,),
            ttl_s=ttl_s,
            routing=Routing.MULTIVALUE,
            set_identifier=zone,
            health_check=zone_check(zone),
        )
        for zone, host in plan.zone_host.items()
    ]


def _routed_records(plan: Plan, *, evaluate_target_health: bool) -> list[Record]:
    topology = plan.topology
    routing = Routing(topology.routing)
    regions = topology.regions[:2] if routing is Routing.FAILOVER else topology.regions
    return [
        Record(
            plan.api_name,
            alias=Alias(plan.regional_name(region), evaluate_target_health),
            routing=routing if len(regions) > 1 else Routing.SIMPLE,
            set_identifier=region,
            health_check=region_check(region) if len(regions) > 1 else None,
            primary=index == 0,
            region=region,
            weight=topology.weights.get(region, 1),
        )
        for index, region in enumerate(regions)
    ]


# ---------------------------------------------------------------------------------------------- processes


def processes(plan: Plan) -> tuple[ProcessSpec, ...]:
    """Every process that runs for the whole time: zone proxies and the edge. Replicas come and go by themselves."""
    return (*(zone_process(plan, zone) for zone in plan.proxies), *edge_processes(plan))


def is_proxy(topology: Topology, node_id: str) -> bool:
    """Whether this node is a part of its zone's proxy process."""
    return any(node.id == node_id for group in topology.of_role(*PROXY_ROLES) for node in group.nodes)


def proxy_name(zone: str) -> str:
    """Process name of a zone's proxy."""
    return f"{zone}/proxy"


def zone_process(plan: Plan, zone: str) -> ProcessSpec:
    """The Envoy of one zone."""
    proxy = plan.proxies[zone]
    return ProcessSpec(
        name=proxy_name(zone),
        argv=zones.argv(proxy),
        env=_plain_environment(),
        cwd=str(plan.zone_folder(zone)),
        log=str(plan.logs / f"{zone}_proxy.log"),
        ready=ReadyProbe(proxy.host, proxy.port),
        stop_s=PROXY_STOP_S,
    )


def edge_processes(plan: Plan) -> tuple[ProcessSpec, ...]:
    """The edge's Envoy and its cache, nginx."""
    edge = plan.edge
    if edge is None:
        return ()
    common: dict[str, Any] = {
        "env": _plain_environment(),
        "cwd": str(plan.edge_folder),
        "stop_s": PROXY_STOP_S,
    }
    envoy = ProcessSpec(
        name="global/edge",
        argv=edges.argv_envoy(edge),
        log=str(plan.logs / "edge.log"),
        ready=ReadyProbe(edge.host, edge.https_port),
        **common,
    )
    nginx = ProcessSpec(
        name="global/cache", argv=edges.argv_nginx(edge), log=str(plan.logs / "cache.log"), **common
    )
    return (nginx, envoy)


def _plain_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "TZ") if name in os.environ}


def files(plan: Plan) -> dict[str, Mapping[str, Any]]:
    """Files to write before anything starts: folder -> relative name -> content."""
    by_folder: dict[str, Mapping[str, Any]] = {
        str(plan.zone_folder(zone)): zones.boot(proxy) for zone, proxy in plan.proxies.items()
    }
    if plan.edge is not None:
        by_folder[str(plan.edge_folder)] = edges.boot(plan.edge)
    return by_folder
