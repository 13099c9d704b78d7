"""Resolve a manifest: place the nodes, draw the links, freeze. Nothing is left to ask afterwards.

::

    route53 ─► cloudfront (edgefunction)                global, placed once
       │           │        │
       ▼           ▼        ▼
       apigateway ─► alb    s3                          once a region; the entry chain decides what there is
                      ▼
             ecs | eks | ec2 | ...    in vpc

The rules here go by role, never by a component's name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from holdfast import manifest as manifests
from holdfast.components import REGISTRY, component
from holdfast.manifest import Manifest
from holdfast.model import App, Group, Link, Role, Topology

_ON_THE_WAY = frozenset({Role.GATEWAY, Role.BALANCER, Role.WORKERS, Role.FUNCTIONS})


def resolve(manifest: Manifest) -> Topology:
    """The topology that ``manifest`` means; the same manifest always gives an equal one."""
    names = manifest.regions.names
    zones = {region: manifests.zone_names(region, manifest.regions.zones) for region in names}
    before = tuple(_group(manifest, name, None) for name in _global_blocks(manifest))
    inside = {
        region: tuple(_group(manifest, name, region) for name in _regional_blocks(manifest))
        for region in names
    }
    groups = before + tuple(group for region in names for group in inside[region])
    links = (
        *_edge_links(manifest, before, inside),
        *(link for region in names for link in _hops(inside[region])),
    )
    return Topology(
        app=_app(manifest),
        regions=names,
        zones=zones,
        routing=manifest.regions.routing,
        weights=manifests.weights(manifest),
        domain=manifests.domain(manifest),
        groups=groups,
        links=links,
        notes=tuple(_notes(manifest, groups, links)),
    )


def _global_blocks(manifest: Manifest) -> tuple[str, ...]:
    """Names of the blocks that are placed once, in request order."""
    edge = any(component(name).role is Role.CDN for name in manifest.entry.chain)
    wanted = {Role.DNS: True, Role.EDGE_FUNCTION: edge}
    return tuple(
        item.name
        for item in REGISTRY
        if not item.regional and wanted.get(item.role, item.name in manifest.entry.chain)
    )


def _regional_blocks(manifest: Manifest) -> tuple[str, ...]:
    """Names of the blocks of one region, what stands beside the request's way first."""
    beside = (Role.NETWORK, Role.BUCKET) if manifest.service.client is not None else (Role.NETWORK,)
    aside = tuple(item.name for item in REGISTRY if item.role in beside)
    entry = tuple(name for name in manifest.entry.chain if component(name).regional)
    skipped = _needless(manifest)
    return (*aside, *(name for name in entry if name not in skipped), manifests.platform(manifest).component)


def _needless(manifest: Manifest) -> tuple[str, ...]:
    """Balancers of a chain whose gateway calls functions directly."""
    roles = {name: component(name).role for name in manifest.entry.chain}
    functions = component(manifests.platform(manifest).component).role is Role.FUNCTIONS
    if not functions or Role.GATEWAY not in roles.values():
        return ()
    return tuple(name for name, role in roles.items() if role is Role.BALANCER)


def _group(manifest: Manifest, name: str, region: str | None) -> Group:
    block = component(name)
    settings = manifests.settings(manifest, name)
    zones = manifests.zone_names(region, manifest.regions.zones) if region else ()
    return Group(
        id=f"{name}.{region}" if region else name,
        component=name,
        role=block.role,
        region=region,
        settings=settings,
        behaviour=block.behaviour(settings),
        nodes=block.place(settings, region, zones),
        zones=zones,
    )


def _edge_links(
    manifest: Manifest, before: tuple[Group, ...], inside: dict[str, tuple[Group, ...]]
) -> Iterator[Link]:
    """DNS to the CDN and to every region; the CDN, in order of preference, to every region and its bucket."""
    weight = manifests.weights(manifest)
    doors = {region: next(g for g in groups if g.role in _ON_THE_WAY) for region, groups in inside.items()}
    dns = [group for group in before if group.role is Role.DNS]
    cdn = [group for group in before if group.role is Role.CDN]
    for source in dns:
        # The health check asks the program in each region; the CDN itself is not checked.
        yield from (replace(_link(source, target), health=None) for target in cdn)
        for i, (region, door) in enumerate(doors.items()):
            order = i if manifest.regions.routing == "failover" else 0
            yield replace(_link(source, door), priority=order, weight=weight[region])
    for source in cdn:
        for i, region in enumerate(inside):
            buckets = (group for group in inside[region] if group.role is Role.BUCKET)
            yield from (replace(_link(source, bucket), priority=i) for bucket in buckets)
            order = (
                i if source.behaviour.retry.failover_methods or manifest.regions.routing == "failover" else 0
            )
            yield replace(_link(source, doors[region]), priority=order, weight=weight[region])


def _hops(groups: tuple[Group, ...]) -> Iterator[Link]:
    """From block to block inside of a region."""
    way = [group for group in groups if group.role in _ON_THE_WAY]
    yield from (_link(source, target) for source, target in pairwise(way))


def _link(source: Group, target: Group) -> Link:
    acts = source.behaviour
    # A balancer has no limit for a whole request; it gives up on a target silent for its idle timeout.
    timeout_s = acts.request_timeout_s if acts.request_timeout_s is not None else acts.idle_timeout_s
    return Link(
        id=f"{source.id}:{target.id}",
        source=source.id,
        target=target.id,
        timeout_s=timeout_s,
        connect_timeout_s=acts.connect_timeout_s,
        retry=acts.retry,
        health=acts.health,
    )


def _app(manifest: Manifest) -> App:
    service = manifest.service
    client = service.client
    return App(
        name=service.name,
        root=os.path.normpath(os.path.join(manifest.folder, service.root)),
        target=service.app,
        command=service.command,
        health_path=service.health,
        client_dir=None if client is None else os.path.normpath(os.path.join(manifest.folder, client)),
        env=dict(service.env),
        exclude=service.exclude,
    )


def _notes(manifest: Manifest, groups: tuple[Group, ...], links: tuple[Link, ...]) -> Iterator[str]:
    """What a reader of the manifest might not expect of the topology."""
    compute = manifests.platform(manifest).component
    for name in _needless(manifest):
        gateway = next(n for n in manifest.entry.chain if component(n).role is Role.GATEWAY)
        yield f"{name} is left out: {gateway} calls {compute} directly"
    used = {group.component for group in groups}
    yield from (
        f"[{name}] has no effect: it is not in this topology" for name in manifest.blocks if name not in used
    )
    yield from _unused_compute(manifest, compute)
    yield from _unchecked(groups, links)
    if component(compute).role is Role.WORKERS and manifest.compute.replicas.min < manifest.regions.zones:
        yield (
            f"compute.replicas.min = {manifest.compute.replicas.min} leaves a zone without a replica"
            f" (regions.zones = {manifest.regions.zones})"
        )
    if manifest.regions.routing == "failover" and len(manifest.regions.names) > 2:
        spare = ", ".join(manifest.regions.names[2:])
        yield f"failover routing has one primary and one secondary record: DNS never answers with {spare}"
    if manifest.regions.domain is None:
        yield f"no regions.domain: on this machine the name is {manifests.domain(manifest)}"


def _unused_compute(manifest: Manifest, compute: str) -> Iterator[str]:
    """Keys of ``[compute]`` that the user set and the platform does not know."""
    takes = component(compute).Settings.model_fields
    for key in sorted(manifest.compute.model_fields_set):
        fields = [field for field, origin in manifests.ORIGIN.items() if origin[:2] == ("compute", key)]
        if fields and key != "pattern" and not set(fields) & set(takes):
            yield f"compute.{key} has no effect on {compute}"


def _unchecked(groups: tuple[Group, ...], links: tuple[Link, ...]) -> Iterator[str]:
    """Replicas that nobody probes."""
    workers = {group.id: group for group in groups if group.role is Role.WORKERS}
    for source in dict.fromkeys(
        link.source.partition(".")[0] for link in links if link.target in workers and link.health is None
    ):
        yield f"{source} does not check replicas, so one that hangs keeps its requests; add a balancer to entry.chain"
