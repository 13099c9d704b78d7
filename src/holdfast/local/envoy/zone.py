"""One zone's proxy: an Envoy process that plays that zone's API Gateway stage and load balancer node.

::

    boot ──────► envoy.json          read once, when the process starts
                 listener.json ┐
    config ────► clusters.json ├───  read again whenever they are renamed into place (xds.write)
                 routes.json   ┘
    faults ────► routes.json         a drill's aborts and delays
    endpoints ─► endpoints.json      targets: registration, health and deregistration
    share ─────► peers.json          how many zones of the region share the stage's throttle

All functions return files (relative name -> content) and do nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.local.envoy import binary, filters, routes, rules, targets
from holdfast.local.envoy.routes import Fault
from holdfast.local.envoy.rules import Rules
from holdfast.local.envoy.targets import Target
from holdfast.local.envoy.xds import Json, from_file, resources, typed
from holdfast.model import Group, Link

__all__ = ["Fault", "Target", "ZoneProxy", "argv", "boot", "config", "endpoints", "faults", "share"]

PEERS = "peers"
PEERS_FILE = "xds/peers.json"
LISTENER_FILE = "xds/listener.json"
CLUSTERS_FILE = "xds/clusters.json"


@dataclass(frozen=True, slots=True)
class ZoneProxy:
    """What one zone's proxy is.

    ``chain``: the gateway and balancer groups in request order (one of them or both); ``link`` goes from the
    last of them to ``compute``. ``region_zones``: zones of the region, which share the stage's throttle.
    ``admin_socket`` is a Unix socket path, ``access_log`` a file; either may be relative to the folder.
    """

    region: str
    zone: str
    host: str
    port: int
    admin_socket: str
    chain: tuple[Group, ...]
    compute: Group
    link: Link
    region_zones: int
    access_log: str

    @property
    def rules(self) -> Rules:
        """The chain's limits, reduced to what this proxy enforces."""
        return rules.combine(self.chain, self.link, self.compute)


def argv(proxy: ZoneProxy) -> tuple[str, ...]:
    """The command line; the working directory is the folder that holds the files of :func:`boot`."""
    return (
        binary.path(),
        *("-c", "envoy.json"),
        *("--concurrency", "1"),
        *("--service-zone", proxy.zone),
        # Hot restart would leave shared memory behind on every kill -9 of a drill.
        "--disable-hot-restart",
        "--reject-unknown-dynamic-fields",
        *("--file-flush-interval-msec", "1000"),
        # "gradual" lets a busy connection live until the end of the drain and resets it there.
        *("--drain-time-s", "5", "--drain-strategy", "immediate"),
        *("--log-level", "warn"),
    )


def boot(proxy: ZoneProxy) -> dict[str, Json]:
    """Every file that the process needs to start, without targets; Envoy exits if one is missing."""
    return {
        "envoy.json": _bootstrap(proxy),
        **config(proxy),
        **share(proxy, proxy.region_zones),
        **endpoints(proxy, ()),
    }


def config(proxy: ZoneProxy) -> dict[str, Json]:
    """Listener, clusters and routes: what a changed manifest may change while the process runs."""
    door = filters.Door(proxy.host, proxy.port, proxy.access_log)
    return {
        LISTENER_FILE: resources(filters.listener(door, proxy.rules)),
        CLUSTERS_FILE: resources(targets.cluster(proxy.rules)),
        **faults(proxy, None),
    }


def faults(proxy: ZoneProxy, fault: Fault | None) -> dict[str, Json]:
    """The route table with ``fault`` in force; ``None`` heals."""
    return {filters.ROUTES_FILE: resources(routes.table(proxy.rules, fault))}


def endpoints(proxy: ZoneProxy, registered: Sequence[Target]) -> dict[str, Json]:
    """The targets of this zone's balancer node: the region's, or without cross-zone only its own zone's."""
    own = [target for target in registered if proxy.rules.cross_zone or target.zone == proxy.zone]
    return {targets.ENDPOINTS_FILE: resources(targets.assignment(own))}


def share(proxy: ZoneProxy, zones: int) -> dict[str, Json]:
    """Give each of ``zones`` proxies its part of the stage's throttle, as when a zone is lost or comes back.

    Envoy divides a token bucket by the number of endpoints of this cluster. It never connects to them.
    """
    peers = [
        {"endpoint": {"address": {"pipe": {"path": f"@{proxy.region}/{n}"}}}} for n in range(max(1, zones))
    ]
    assignment = typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=PEERS,
        endpoints=[{"lb_endpoints": peers}],
    )
    return {PEERS_FILE: resources(assignment)}


def _bootstrap(proxy: ZoneProxy) -> Json:
    return {
        "node": {"id": f"{proxy.zone}/proxy", "cluster": proxy.region, "locality": {"zone": proxy.zone}},
        "admin": {"address": {"pipe": {"path": proxy.admin_socket, "mode": 0o600}}},
        "dynamic_resources": {"lds_config": from_file(LISTENER_FILE), "cds_config": from_file(CLUSTERS_FILE)},
        "cluster_manager": {"local_cluster_name": PEERS},
        "static_resources": {
            "clusters": [
                {"name": PEERS, "type": "EDS", "eds_cluster_config": {"eds_config": from_file(PEERS_FILE)}}
            ]
        },
    }
