"""Asking a running Envoy: target health, counters, rejected updates, and telling it to drain.

Over the admin interface's Unix socket, which only the user who started the process may open.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp

from holdfast.errors import EnvironmentProblem
from holdfast.local.envoy.routes import CLUSTER

ANSWER_WITHIN_S = 2.0
"""An admin request takes about a millisecond; a process that needs longer is frozen."""
SUBSCRIPTIONS = {
    "listener_manager.lds": "xds/listener.json",
    "cluster_manager.cds": "xds/clusters.json",
    "http.zone.rds.zone": "xds/routes.json",
    "cluster.targets": "xds/endpoints.json",
    "cluster.peers": "xds/peers.json",
}
REFUSED = r"\.update_(rejected|failure)$"
REQUEST_COUNTERS = ("downstream_rq_total", "downstream_rq_2xx", "downstream_rq_4xx", "downstream_rq_5xx")


class ProxyGone(EnvironmentProblem):
    """Nothing answers on the admin socket: the process is dead, frozen or still starting."""


@dataclass(frozen=True, slots=True)
class TargetState:
    """One target as one zone's balancer node sees it. Totals count from the target's registration there.

    ``errors_total``: answers of 500 and above; ``connect_failures_total``: connections refused or timed out.
    """

    healthy: bool
    draining: bool
    active_requests: int
    requests_total: int
    errors_total: int
    connect_failures_total: int


@dataclass(frozen=True, slots=True)
class Counters:
    """What one proxy has answered since it started; ``throttled`` of them by the stage's token bucket."""

    requests: int
    ok_2xx: int
    client_errors_4xx: int
    server_errors_5xx: int
    throttled: int
    rejected: Mapping[str, int]
    """File -> updates that Envoy refused, for files with at least one."""


class Admin:
    """One proxy's admin interface; keeps one connection open. Use as ``async with Admin(path) as admin``.

    Every method raises :class:`ProxyGone` when nothing answers.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Admin:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def target_health(self) -> dict[str, TargetState]:
        """Node id -> state, for every target registered with this proxy."""
        answer: dict[str, Any] = json.loads(await self._ask("GET", "/clusters?format=json"))
        groups = [group for group in answer["cluster_statuses"] if group["name"] == CLUSTER]
        hosts = [host for group in groups for host in group.get("host_statuses", [])]
        return {host["hostname"]: _target_state(host) for host in hosts}

    async def addresses(self, cluster: str) -> tuple[str, ...]:
        """The IP addresses that a cluster sends requests to now."""
        answer = json.loads(await self._ask("GET", "/clusters?format=json"))
        hosts = [
            host
            for c in answer["cluster_statuses"]
            if c["name"] == cluster
            for host in c.get("host_statuses", ())
        ]
        return tuple(host["address"]["socket_address"]["address"] for host in hosts)

    async def counters(self) -> Counters:
        """Requests by outcome, and the updates refused."""
        stats = await self._stats(r"^http\.zone\.downstream_rq_(total|.xx)$|rate_limited$|" + REFUSED)
        total, ok, client, server = (stats.get(f"http.zone.{name}", 0) for name in REQUEST_COUNTERS)
        throttled = stats.get("throttle.http_local_rate_limit.rate_limited", 0)
        return Counters(total, ok, client, server, throttled, _rejected(stats))

    async def update_rejected(self) -> dict[str, int]:
        """File -> updates that Envoy refused as unreadable or invalid; it goes on with the last good one."""
        return _rejected(await self._stats(REFUSED))

    async def drain(self) -> None:
        """Fail the health probe, end keep-alive connections and, after ``--drain-time-s``, stop listening."""
        await self._ask("POST", "/healthcheck/fail")
        await self._ask("POST", "/drain_listeners?graceful")

    async def _stats(self, pattern: str) -> dict[str, int]:
        text = await self._ask("GET", "/stats", {"filter": pattern})
        return {name: int(value) for name, _, value in (line.partition(": ") for line in text.splitlines())}

    async def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None) -> str:
        try:
            async with self._open().request(method, f"http://envoy{path}", params=query) as answer:
                answer.raise_for_status()
                return await answer.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ProxyGone(
                f"the proxy does not answer on {self._socket}: {str(error) or 'timed out'}"
            ) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=self._socket, limit=1),
                timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S),
            )
        return self._session


def _target_state(status: Mapping[str, Any]) -> TargetState:
    stats = {stat["name"]: int(stat.get("value", 0)) for stat in status["stats"]}
    health = status["health_status"]
    return TargetState(
        healthy=not health.get("failed_active_health_check") and health["eds_health_status"] == "HEALTHY",
        draining=health["eds_health_status"] == "DRAINING",
        active_requests=stats["rq_active"],
        requests_total=stats["rq_total"],
        errors_total=stats["rq_error"],
        connect_failures_total=stats["cx_connect_fail"],
    )


def _rejected(stats: Mapping[str, int]) -> dict[str, int]:
    refused = {
        file: sum(stats.get(f"{scope}.update_{how}", 0) for how in ("rejected", "failure"))
        for scope, file in SUBSCRIPTIONS.items()
    }
    return {file: count for file, count in refused.items() if count}
