"""The state of the running system as one JSON-able value: what ``holdfast status`` shows."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from holdfast.local import plan as plans
from holdfast.local.build import Built
from holdfast.local.region import Region
from holdfast.local.supervisor import ProcessView
from holdfast.local.usage import memory_mb
from holdfast.model import ProcessState


class Snapshot:
    """Takes snapshots of one system."""

    def __init__(self, built: Built, speed: float) -> None:
        self._built = built
        self._speed = speed
        self.ready_s = 0.0

    def take(self) -> dict[str, Any]:
        """Everything; see ``docs/cli.md`` for the fields."""
        built = self._built
        views = {view.name: view for view in built.supervisor.status()}
        regions = [self._region(region, views) for region in built.regions.values()]
        return {
            "name": built.plan.topology.app.name,
            "t": time.time(),
            "pid": os.getpid(),
            "run_dir": str(built.run.root),
            "ready_s": self.ready_s,
            "speed": self._speed,
            "state": "ready" if all(region["state"] == "up" for region in regions) else "degraded",
            "urls": self.urls(),
            "ca": built.plan.site.ca,
            "regions": regions,
            "edge": _process(views.get("global/edge")),
            "cache": _process(views.get("global/cache")),
            "dns": {"queries": built.dns.queries, "down": built.dns.is_down},
            "processes": [_process(view) for view in views.values()],
        }

    def urls(self) -> dict[str, Any]:
        """Addresses for people: ``edge``, ``gateways`` by region, ``dns``, and the names DNS answers for."""
        flat = self._built.urls()
        gateways = {name.partition(".")[2]: url for name, url in flat.items() if name.startswith("gateway.")}
        return {**{k: v for k, v in flat.items() if not k.startswith("gateway.")}, "gateways": gateways}

    def memory_mb(self) -> float:
        """Memory of the supervisor and everything below it; takes some milliseconds a process."""
        return memory_mb([os.getpid()])

    def _region(self, region: Region, views: Mapping[str, ProcessView]) -> dict[str, Any]:
        status = dict(region.workforce.status())
        nodes = status.pop("nodes")
        rates = region.balancers.node_rps()
        zones = [self._zone(region, zone, views, nodes, rates) for zone in region.zones]
        healthy = self._built.checks.is_healthy(plans.region_check(region.name))
        down = region.down or not any(zone["state"] == "up" for zone in zones)
        degraded = any(zone["state"] != "up" for zone in zones) or not region.workforce.settled()
        return {
            "name": region.name,
            "state": "down" if down else "degraded" if degraded else "up",
            "dns_healthy": healthy,
            "pattern": region.group.component,
            **status,
            "deployment": region.workforce.deployment(),
            "zones": zones,
        }

    def _zone(
        self,
        region: Region,
        zone: str,
        views: Mapping[str, ProcessView],
        nodes: list[dict[str, Any]],
        rates: Mapping[str, float],
    ) -> dict[str, Any]:
        proxy = views.get(plans.proxy_name(zone))
        traffic = region.balancers.rates(zone)
        return {
            "name": zone,
            "state": self._zone_state(region, zone, proxy),
            "address": self._built.plan.zone_host[zone],
            "in_dns": self._built.checks.is_healthy(plans.zone_check(zone)),
            "rps": round(traffic.rps, 1),
            "errors_rps": round(traffic.errors_rps, 1),
            "nodes": [
                {**node, **self._of_process(views.get(node["id"]), rates)}
                for node in nodes
                if node["zone"] == zone
            ],
        }

    @staticmethod
    def _of_process(view: ProcessView | None, rates: Mapping[str, float]) -> dict[str, Any]:
        if view is None:
            return {"pid": None, "rps": 0.0, "paused": False}
        return {"pid": view.pid, "rps": round(rates.get(view.name, 0.0), 1), "paused": view.paused}

    @staticmethod
    def _zone_state(region: Region, zone: str, proxy: ProcessView | None) -> str:
        if zone in region.dark or region.down:
            return "down"
        if proxy is not None and proxy.paused:
            return "unreachable"
        return "up" if proxy is not None and proxy.state is ProcessState.RUNNING else "down"


def _process(view: ProcessView | None) -> dict[str, Any] | None:
    if view is None:
        return None
    return {
        "name": view.name,
        "state": view.state.value,
        "pid": view.pid,
        "restarts": view.restarts,
        "paused": view.paused,
        "reason": view.reason,
    }
