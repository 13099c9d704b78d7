"""Rules that need more than one table, or the disk. Each yields complaints; none raises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path as FilePath
from typing import Any

from holdfast.components import REGISTRY
from holdfast.components.base import Component
from holdfast.manifest import regions
from holdfast.manifest.complaints import Complaint, Path, suggest
from holdfast.manifest.schema import Manifest
from holdfast.model import Role

ENTRY_ROLES = (Role.CDN, Role.GATEWAY, Role.BALANCER)
"""What may stand in ``entry.chain``, in the order a request passes it."""
STORE_ROLES = (Role.DATABASE, Role.CACHE, Role.TABLE)


@dataclass(frozen=True, slots=True)
class Rule:
    """One check. ``reads`` are keys whose values it goes by beside those it complains about."""

    check: Callable[[Manifest], Iterator[Complaint]]
    reads: tuple[Path, ...] = ()


def region_names(manifest: Manifest) -> Iterator[Complaint]:
    """Every region exists and has as many zones as are asked for."""
    known = regions.known()
    for i, name in enumerate(manifest.regions.names):
        if name not in known:
            hint = suggest(name, known) if len(name) > 4 else f"names look like {known[-4]}"
            yield Complaint(
                ("regions", "names", i), f'AWS has no region "{name}" (as of {regions.as_of()})', hint
            )
        elif regions.zones(name) < manifest.regions.zones:
            has = regions.zones(name)
            yield Complaint(
                ("regions", "zones"),
                f"{name} offers {has} zones, not {manifest.regions.zones}",
                f"zones = {has}, or another region",
            )


def routing(manifest: Manifest) -> Iterator[Complaint]:
    """Weights fit the policy and the regions; failover has somewhere to go."""
    table = manifest.regions
    for name in table.weights:
        if name not in table.names:
            yield Complaint(
                ("regions", "weights", name),
                f'"{name}" is not one of the regions',
                suggest(name, table.names),
            )
    if table.weights and table.routing != "weighted":
        yield Complaint(
            ("regions", "weights"), f'has no effect with routing = "{table.routing}"', 'routing = "weighted"'
        )
    if table.weights and not any(table.weights.get(name) for name in table.names):
        yield Complaint(("regions", "weights"), "leaves every region without traffic")
    if table.routing == "failover" and len(table.names) < 2:
        yield Complaint(("regions", "routing"), "failover needs a second region in regions.names")


def chain(manifest: Manifest) -> Iterator[Complaint]:
    """``entry.chain`` names blocks that can stand there, in order, at least one of them in each region."""
    able = {item.name: item for item in REGISTRY if item.role in ENTRY_ROLES}
    ranks: list[int] = []
    for i, name in enumerate(manifest.entry.chain):
        if name not in able:
            yield Complaint(("entry", "chain", i), _no_entry(name), suggest(name, able))
            continue
        rank = ENTRY_ROLES.index(able[name].role)
        if ranks and rank <= ranks[-1]:
            order = ", ".join(item.name for item in sorted(able.values(), key=_rank))
            yield Complaint(
                ("entry", "chain", i),
                f'"{name}" cannot stand behind "{manifest.entry.chain[i - 1]}"',
                f"a request passes {order} in this order",
            )
        ranks.append(rank)
    regional = [item.name for item in able.values() if item.regional]
    if set(manifest.entry.chain) <= set(able) - set(regional):
        yield Complaint(
            ("entry", "chain"),
            "has no block inside of a region, so nothing spreads requests over zones",
            f"add {' or '.join(regional)}",
        )


def _no_entry(name: str) -> str:
    if name in {item.name for item in REGISTRY if item.role is Role.DNS}:
        return f"{name} is always in front and is not written here"
    return f'"{name}" is not a block that requests can pass through'


def _rank(item: Component[Any]) -> int:
    return ENTRY_ROLES.index(item.role)


def client(manifest: Manifest) -> Iterator[Complaint]:
    """A static site needs the CDN in front of it."""
    cdns = [item.name for item in REGISTRY if item.role is Role.CDN]
    if manifest.service.client is not None and not set(cdns) & set(manifest.entry.chain):
        yield Complaint(
            ("service", "client"),
            "is served through the CDN, and entry.chain has none",
            f"add {' or '.join(cdns)} to entry.chain",
        )


def stores(manifest: Manifest) -> Iterator[Complaint]:
    """Every store is of a kind that a component provides."""
    kinds = tuple(item.name for item in REGISTRY if item.role in STORE_ROLES)
    for name, store in manifest.stores.items():
        if not kinds:
            yield Complaint(
                ("stores", name),
                "stores come with a later version",
                "take the table out; the program can reach a store of its own meanwhile",
            )
        elif store.kind not in kinds:
            yield Complaint(
                ("stores", name, "kind"), f'no store of kind "{store.kind}"', suggest(store.kind, kinds)
            )


def files(manifest: Manifest) -> Iterator[Complaint]:
    """Everything that ``[service]`` points to exists."""
    service, folder = manifest.service, FilePath(manifest.folder)
    if not (folder / service.root).is_dir():
        yield Complaint(("service", "root"), f'there is no folder "{service.root}" beside the manifest')
    elif service.app is not None:
        yield from _app(folder / service.root, service.app.partition(":")[0])
    elif (
        service.command
        and "/" in service.command[0]
        and not (folder / service.root / service.command[0]).exists()
    ):
        yield Complaint(
            ("service", "command"), f'there is no program "{service.command[0]}" in {service.root}'
        )
    if service.openapi is not None and not (folder / service.openapi).is_file():
        yield Complaint(("service", "openapi"), f'there is no file "{service.openapi}" beside the manifest')
    if service.client is not None and not (folder / service.client).is_dir():
        yield Complaint(("service", "client"), f'there is no folder "{service.client}" beside the manifest')


def _app(root: FilePath, module: str) -> Iterator[Complaint]:
    """A module file, a package, a namespace package, or something installed beside Holdfast."""
    relative = module.replace(".", "/")
    candidates = (f"{relative}.py", f"{relative}/__init__.py", relative)
    if any((root / candidate).exists() for candidate in candidates):
        return
    top = module.partition(".")[0]
    if (
        not any((root / name).exists() for name in (top, f"{top}.py"))
        and PathFinder.find_spec(top) is not None
    ):
        return
    hint = 'root = "src"' if any((root / "src" / name).exists() for name in candidates) else None
    yield Complaint(
        ("service", "app"),
        f'there is no module "{module}": no {candidates[0]} and no {candidates[1]}'
        f" in {os.path.relpath(root)}",
        hint or "service.root is the folder it is imported from",
    )


RULES: tuple[Rule, ...] = (
    Rule(files),
    Rule(region_names),
    Rule(routing, reads=(("regions", "names"), ("regions", "routing"), ("regions", "weights"))),
    Rule(chain),
    Rule(client, reads=(("entry",),)),
    Rule(stores),
)
