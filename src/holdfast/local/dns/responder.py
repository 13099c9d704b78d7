"""From the bytes of a question to the bytes of an answer, without sockets.

Packing a reply costs far more than sending one, so everything but chance is kept: per question the outcome
(which answers are possible), per drawn answer its packed bytes. Health or zone changes drop all of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from holdfast.local.dns import wire
from holdfast.local.dns.zone import Answer, Healthy, HostedZone, Outcome, Query, decide

CACHE_ENTRIES = 4096
"""Bounds what a client with random names can make us remember."""

Viewer = Callable[[str], str | None]
"""From an IP address to the region it is in."""


def nowhere(address: str) -> str | None:
    """A :data:`Viewer` that knows no place."""
    return None


@dataclass(slots=True)
class _Known:
    request: wire.Request
    outcome: Outcome
    packed: dict[tuple[str, ...], bytes] = field(default_factory=dict)


class Responder:
    """Answers packets from one zone. Call ``refresh`` whenever ``healthy`` may say something new."""

    def __init__(
        self,
        zone: HostedZone,
        healthy: Healthy,
        *,
        rng: random.Random | None = None,
        viewer: Viewer = nowhere,
    ) -> None:
        self.zone = zone
        self._healthy = healthy
        self._rng = rng or random.Random()
        self._viewer = lru_cache(CACHE_ENTRIES)(viewer)
        self._known: dict[tuple[bytes, str | None, bool], _Known] = {}

    def refresh(self, zone: HostedZone | None = None) -> None:
        """Forget every packed answer; take ``zone`` from now on where it is given."""
        self.zone = zone or self.zone
        self._known.clear()

    def respond(self, data: bytes, source: str, *, tcp: bool = False) -> bytes | None:
        """The reply to one packet from the address ``source``; ``None`` where silence is right."""
        key = (data[2:], self._viewer(source), tcp)
        known = self._known.get(key)
        if known is None:
            try:
                known = self._learn(key, data)
            except wire.Unanswerable as problem:
                return problem.reply
        answer = known.outcome.draw(self._rng)
        packed = known.packed.get(answer.values)
        if packed is None:
            packed = known.packed[answer.values] = self._pack(known.request, answer, tcp)
        return data[:2] + packed

    def lookup(self, name: str, viewer_region: str | None = None) -> Answer:
        """One answer without a packet."""
        return decide(self.zone, Query(name, "A", viewer_region), self._healthy).draw(self._rng)

    def outcome(self, name: str, viewer_region: str | None = None) -> Outcome:
        """Everything that may be answered for ``name`` right now."""
        return decide(self.zone, Query(name, "A", viewer_region), self._healthy)

    def _learn(self, key: tuple[bytes, str | None, bool], data: bytes) -> _Known:
        request = wire.parse(data)
        viewer = self._viewer(request.subnet) if request.subnet else key[1]
        outcome = decide(self.zone, Query(request.name, request.qtype, viewer), self._healthy)
        if len(self._known) >= CACHE_ENTRIES:
            self._known.clear()
        return self._known.setdefault(key, _Known(request, outcome))

    def _pack(self, request: wire.Request, answer: Answer, tcp: bool) -> bytes:
        packed = wire.pack(request, answer, self.zone)
        if not tcp and len(packed) > request.udp_bytes:
            packed = wire.truncated(request)
        return packed[2:]
