"""A topology as JSON. Keys are only ever added; ``format`` counts changes that break readers.

::

    format      1
    service     name, target or command, root, health_path, client_dir, env (names only:
                values may be secret), exclude
    regions     names in order; zones: region -> zone names; routing, weights, domain
    groups      id, component, role, region (null: global), zones, settings, behaviour, because, nodes
    links       id, source, target (group ids), timeout_s, connect_timeout_s, retry, health, priority, weight
    means       when, then: what follows from the numbers, for people
    notes       what a reader of the manifest might not expect

``because`` maps a number's place in ``behaviour`` to the setting or dated fact it comes from.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from holdfast.model import App, Group, Topology
from holdfast.report.implications import implications

FORMAT = 1


def to_json(topology: Topology) -> dict[str, Any]:
    """``topology`` as plain dicts, lists, strings and numbers."""
    return {
        "format": FORMAT,
        "service": _service(topology.app),
        "regions": list(topology.regions),
        "zones": {region: list(zones) for region, zones in topology.zones.items()},
        "routing": topology.routing,
        "weights": dict(topology.weights),
        "domain": topology.domain,
        "groups": [_group(group) for group in topology.groups],
        "links": [_plain(asdict(link)) for link in topology.links],
        "means": [asdict(item) for item in implications(topology)],
        "notes": list(topology.notes),
    }


def _service(app: App) -> dict[str, Any]:
    return {**_plain(asdict(app)), "env": sorted(app.env)}


def _group(group: Group) -> dict[str, Any]:
    behaviour = _plain(asdict(group.behaviour))
    because = behaviour.pop("because")
    return {
        "id": group.id,
        "component": group.component,
        "role": group.role.value,
        "region": group.region,
        "zones": list(group.zones),
        "settings": group.settings.model_dump(mode="json", by_alias=True),
        "behaviour": behaviour,
        "because": because,
        "nodes": [_plain(asdict(node)) for node in group.nodes],
    }


def _plain(value: Any) -> Any:
    """Tuples as lists and enums as their words, all the way down."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
