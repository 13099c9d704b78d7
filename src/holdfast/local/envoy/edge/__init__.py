"""The edge: an Envoy and an nginx process that play a CloudFront distribution and the client's bucket.

::

    boot ───► envoy.json, lua/*.lua, nginx.conf     read once, when the processes start
    update ─► xds/{viewer,origin,secondary}.json    invalidations and faults, in force within milliseconds

nginx does nothing but store and serve files; it stands between two Envoy listeners (see ``listeners``), which
route, retry, compress and decide on lifetimes. All functions return files or command lines and do nothing.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.local.envoy import binary, nginx
from holdfast.local.envoy.edge import listeners, origins, routes
from holdfast.local.envoy.edge.model import Edge, Origin, State
from holdfast.local.envoy.xds import Json, resources

__all__ = ["Edge", "Origin", "State", "argv_envoy", "argv_nginx", "boot", "invalidated", "update"]

RUNTIME = {"re2.max_program_size.error_level": 10_000}
"""Envoy refuses regular expressions over 100; a path pattern may be 255 characters long."""


def boot(edge: Edge, state: State | None = None) -> dict[str, Json | str]:
    """Every file that both processes need to start; write them to ``edge.folder``."""
    return {
        "envoy.json": _bootstrap(edge),
        "nginx.conf": nginx.config(_store(edge)),
        **listeners.lua_files(),
        **update(edge, state or State()),
    }


def update(edge: Edge, state: State) -> dict[str, Json]:
    """The route tables for ``state``; written with ``xds.write`` they replace those of the running edge."""
    tables = {"viewer": routes.viewer, "origin": routes.origin, "secondary": routes.secondary}
    return {listeners.TABLES[name]: resources(table(edge, state)) for name, table in tables.items()}


def invalidated(state: State) -> State:
    """``state`` after an invalidation of ``/*``: nothing cached so far is served again."""
    return replace(state, generation=state.generation + 1)


def argv_envoy(edge: Edge) -> tuple[str, ...]:
    """The command line of Envoy; the working directory is ``edge.folder``."""
    return (
        binary.path(),
        *("-c", "envoy.json"),
        *("--concurrency", "1"),
        # Hot restart would leave shared memory behind on every kill -9 of a drill.
        "--disable-hot-restart",
        "--reject-unknown-dynamic-fields",
        *("--file-flush-interval-msec", "1000"),
        *("--drain-time-s", "5"),
        # Envoy's default resets busy connections when the drain of an updated listener ends.
        *("--drain-strategy", "immediate"),
        *("--log-level", "warn"),
    )


def argv_nginx(edge: Edge) -> tuple[str, ...]:
    """The command line of nginx; the working directory is ``edge.folder``."""
    return nginx.argv(_store(edge))


def _store(edge: Edge) -> nginx.Store:
    return nginx.Store(
        bucket_dir=edge.bucket_dir,
        root_object=edge.settings.default_root_object if edge.settings.spa else None,
        failover_statuses=edge.retry.failover_statuses if edge.secondary else (),
    )


def _bootstrap(edge: Edge) -> Json:
    return {
        "node": {"id": "global/edge", "cluster": "edge"},
        "admin": {"address": {"pipe": {"path": edge.admin_socket, "mode": 0o600}}},
        "layered_runtime": {"layers": [{"name": "edge", "static_layer": RUNTIME}]},
        "static_resources": {
            "listeners": list(listeners.listeners(edge)),
            "clusters": list(origins.clusters(edge)),
        },
    }
