"""The balancer nodes of one region: tell them their targets, and know what they see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.local.envoy import xds, zone
from holdfast.local.envoy.admin import Admin, Counters, ProxyGone, TargetState
from holdfast.local.envoy.zone import Target, ZoneProxy
from holdfast.local.fleet import NodeHealth
from holdfast.local.usage import Served

READ_EVERY_S = 0.4
"""A balancer node's own view is at most that old; one reading costs it about a millisecond."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What one proxy served over the last reading: requests/s, and of them the share that failed (5xx)."""

    rps: float = 0.0
    errors_rps: float = 0.0


@dataclass(slots=True)
class _Reading:
    t: float
    counters: Counters
    targets: Mapping[str, TargetState]
    rates: Rates = Rates()
    passed_on: int = 0
    node_rps: Mapping[str, float] = field(default_factory=dict)


class Balancers:
    """All zone proxies of one region. A proxy that does not answer (dead, frozen) has no say."""

    def __init__(self, proxies: Iterable[ZoneProxy], folder: Mapping[str, Path]) -> None:
        self._proxies = {proxy.zone: proxy for proxy in proxies}
        self._folder = folder
        self._admins = {name: Admin(proxy.admin_socket) for name, proxy in self._proxies.items()}
        self._readings: dict[str, _Reading] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to read every proxy, each at its own pace so that a frozen one delays no other."""
        self._tasks = [asyncio.create_task(self._watch(name)) for name in self._proxies]

    async def close(self) -> None:
        """Stop reading and end the connections to the proxies."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(admin.close() for admin in self._admins.values()))

    def publish(self, targets: tuple[Target, ...]) -> None:
        """Register exactly these targets with every balancer node, also with one that is down now."""
        for name, proxy in self._proxies.items():
            xds.write(self._folder[name], zone.endpoints(proxy, targets))

    def share_throttle(self, live: int) -> None:
        """Divide the region's request rate limit between ``live`` proxies."""
        for name, proxy in self._proxies.items():
            xds.write(self._folder[name], zone.share(proxy, live))

    async def _watch(self, name: str) -> None:
        while True:
            await self._read(name)
            await asyncio.sleep(READ_EVERY_S)

    async def _read(self, name: str) -> None:
        admin = self._admins[name]
        try:
            targets, counters = await admin.target_health(), await admin.counters()
        except ProxyGone:
            self._readings.pop(name, None)
            return
        reading = _Reading(time.monotonic(), counters, targets)
        if before := self._readings.get(name):
            _compare(before, reading)
        self._readings[name] = reading

    def seen(self) -> Mapping[str, NodeHealth]:
        """Each target as the answering proxies see it: healthy for one of them is healthy."""
        seen: dict[str, NodeHealth] = {}
        for reading in self._readings.values():
            for node, state in reading.targets.items():
                known = seen.get(node, NodeHealth(False))
                seen[node] = NodeHealth(
                    known.healthy or state.healthy, known.in_flight + state.active_requests
                )
        return seen

    def out_everywhere(self, node: str) -> bool:
        """No answering balancer node sends requests to ``node``: it is unhealthy, draining or not registered."""
        states = [reading.targets.get(node) for reading in self._readings.values()]
        return all(state is None or state.draining or not state.healthy for state in states)

    def answering(self, name: str) -> bool:
        """Whether the zone's proxy answered the last time."""
        return name in self._readings

    def rates(self, name: str) -> Rates:
        """Requests and errors per second of one zone's proxy; zero where it does not answer."""
        reading = self._readings.get(name)
        return reading.rates if reading else Rates()

    def served(self) -> Mapping[str, Served]:
        """How many requests each answering proxy has passed on to targets, by zone."""
        return {name: Served(reading.t, reading.passed_on) for name, reading in self._readings.items()}

    def node_rps(self) -> Mapping[str, float]:
        """Requests per second of each target, over all zones."""
        total: dict[str, float] = {}
        for reading in self._readings.values():
            for node, rps in reading.node_rps.items():
                total[node] = total.get(node, 0.0) + rps
        return total


def _compare(before: _Reading, now: _Reading) -> None:
    """Turn two readings of growing counters into rates. A proxy that was restarted counts from zero again."""
    seconds = max(1e-3, now.t - before.t)
    now.rates = Rates(
        max(0, now.counters.requests - before.counters.requests) / seconds,
        max(0, now.counters.server_errors_5xx - before.counters.server_errors_5xx) / seconds,
    )
    passed_on = {
        node: max(0, state.requests_total - _requests_before(before, node))
        for node, state in now.targets.items()
    }
    now.passed_on = before.passed_on + sum(passed_on.values())
    now.node_rps = {node: count / seconds for node, count in passed_on.items()}


def _requests_before(before: _Reading, node: str) -> int:
    """A target that was registered since has served nothing before."""
    state = before.targets.get(node)
    return state.requests_total if state else 0
