"""What a request's way asks of one zone's proxy, reduced to the numbers that Envoy is given.

An API Gateway stage and a load balancer node run in one process, so where both state a limit the tighter one
holds, as it would with the two in series. Nothing here knows a number: all come from ``Group.behaviour`` and
the ``Link`` to the targets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from holdfast.errors import HoldfastError
from holdfast.model import Group, HealthCheck, Link, RateLimit, Role

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one zone's proxy. ``None`` means that nothing on the way sets that limit.

    ``throttle`` is the whole region's; the proxies of its zones share it.
    """

    gateway: bool
    balancer: bool
    throttle: RateLimit | None
    request_timeout_s: float | None
    idle_timeout_s: float | None
    connect_timeout_s: float | None
    max_payload_bytes: int | None
    max_header_bytes: int | None
    health: HealthCheck | None
    slow_start_s: float
    fail_open: bool
    cross_zone: bool


def combine(chain: tuple[Group, ...], link: Link, compute: Group) -> Rules:
    """The rules of ``chain`` (gateway, balancer or both, in request order) in front of ``compute``.

    Raises:
        HoldfastError: the chain holds neither a gateway nor a balancer.
    """
    gateway = _of_role(chain, Role.GATEWAY)
    balancer = _of_role(chain, Role.BALANCER)
    last = balancer or gateway
    if last is None:
        raise HoldfastError("a zone's proxy needs an API gateway or a load balancer in [entry] chain")
    behaviours = [group.behaviour for group in chain]
    waits = [link.timeout_s if balancer else None, *(b.idle_timeout_s for b in behaviours)]
    calls = [None if balancer else link.timeout_s, *(b.request_timeout_s for b in behaviours)]
    return Rules(
        gateway=gateway is not None,
        balancer=balancer is not None,
        throttle=gateway.behaviour.rate_limit if gateway else None,
        request_timeout_s=_tightest(calls),
        idle_timeout_s=_tightest(waits),
        connect_timeout_s=_tightest([link.connect_timeout_s, last.behaviour.connect_timeout_s]),
        max_payload_bytes=_tightest(b.max_payload_bytes for b in behaviours),
        max_header_bytes=_tightest(b.max_header_bytes for b in behaviours),
        health=link.health if compute.role is Role.WORKERS else None,
        slow_start_s=last.behaviour.slow_start_s or 0.0,
        fail_open=last.behaviour.fail_open,
        cross_zone=last.behaviour.cross_zone,
    )


def _of_role(chain: tuple[Group, ...], role: Role) -> Group | None:
    return next((group for group in chain if group.role is role), None)


def _tightest(limits: Iterable[N | None]) -> N | None:
    return min((limit for limit in limits if limit is not None), default=None)
