"""From a parsed manifest to a :class:`Manifest`, or to everything that is wrong with it.

Pydantic stops at a table's first level of errors. To say everything at once, what is wrong is noted and taken
out, and the rest is looked at again; the rules then run on what is left.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from holdfast.components import REGISTRY, component
from holdfast.manifest import rules
from holdfast.manifest.complaints import Complaint, Path, found, of_pydantic, suggest
from holdfast.manifest.declare import ORIGIN, as_json, platform, settings
from holdfast.manifest.schema import Manifest

TABLES = ("service", "regions", "entry", "compute", "stores", "objectives", "load")
_STAND_IN = {"name": "unnamed", "command": ["{port}"]}
_ROUNDS = 20


def examine(data: Mapping[str, Any], folder: str) -> tuple[Manifest, list[Complaint]]:
    """The manifest and what is wrong with it; with complaints, the manifest is only a guess at what was meant."""
    blocks = {item.name: data[item.name] for item in REGISTRY if item.name in data}
    complaints = [
        Complaint(
            (key,), f'unknown table "{key}"', suggest(key, (*TABLES, *(item.name for item in REGISTRY)))
        )
        for key in data
        if key not in TABLES and key not in blocks
    ]
    for name, table in blocks.items():
        if not isinstance(table, dict):
            complaints.append(Complaint((name,), f"expected a table, found {found(table)}", f"[{name}]"))
    core = {key: data[key] for key in TABLES if key in data}
    tables = {name: table for name, table in blocks.items() if isinstance(table, dict)}
    guess, wrong = _best_guess(core | {"blocks": tables, "folder": folder})
    complaints += wrong
    broken = [complaint.path for complaint in complaints]
    complaints += (item for item in _further(guess, broken) if not _below(item.path, broken))
    return guess, list(dict.fromkeys(complaints))


def _best_guess(data: dict[str, Any]) -> tuple[Manifest, list[Complaint]]:
    """Take wrong keys out until the rest is valid."""
    rest = copy.deepcopy(data)
    complaints: list[Complaint] = []
    for _ in range(_ROUNDS):
        try:
            return Manifest.model_validate_json(as_json(rest)), complaints
        except ValidationError as error:
            new = of_pydantic(error, Manifest)
            seen = [complaint.path for complaint in complaints]
            complaints += (item for item in new if not _below(item.path, seen))
            for item in new:
                _take_out(rest, item.path)
    return Manifest.model_validate_json(as_json({"service": _STAND_IN, "folder": data["folder"]})), complaints


def _take_out(data: dict[str, Any], path: Path) -> None:
    """Remove what ``path`` leads to, or what should have held it; put a stand-in where something must be."""
    if path == ("service",) or path[:2] in (("service", "name"), ("service", "app"), ("service", "command")):
        data["service"] = _mended(data.get("service"), path)
        return
    above: list[tuple[dict[str | int, Any], str | int]] = []
    table: Any = data
    for part in path:
        if not isinstance(table, dict):
            break
        above.append((table, part))
        table = table.get(part)
    holder, key = next(((holder, key) for holder, key in reversed(above) if key in holder), above[0])
    holder.pop(key, None)


def _mended(service: Any, path: Path) -> dict[str, Any]:
    """``[service]`` without what is wrong in it, but still with a name and something to run."""
    kept = dict(service) if isinstance(service, dict) else {}
    for key in path[1:2] or ("app", "command"):
        kept.pop(str(key), None)
    program = {} if {"app", "command"} & set(kept) else {"command": _STAND_IN["command"]}
    return {"name": _STAND_IN["name"]} | kept | program


def _further(manifest: Manifest, broken: list[Path]) -> Iterator[Complaint]:
    """What the components and the rules have to say, as far as they do not go by a guess."""
    used = (*(item.name for item in REGISTRY if item.name in manifest.blocks), *manifest.entry.chain)
    known = {item.name for item in REGISTRY}
    for name in dict.fromkeys((*used, platform(manifest).component)):
        if name in known:
            yield from (item for item in _block(manifest, name) if not _touched((item.path[:1],), broken))
    for rule in rules.RULES:
        if not _touched(rule.reads, broken):
            yield from rule.check(manifest)


def _block(manifest: Manifest, name: str) -> Iterator[Complaint]:
    table = manifest.blocks.get(name, {})
    try:
        settings(manifest, name)
    except ValidationError as error:
        for item in of_pydantic(error, component(name).Settings):
            yield Complaint(_origin(name, table, item.path, manifest), item.message, item.hint)


def _origin(name: str, table: Mapping[str, Any], path: Path, manifest: Manifest) -> Path:
    """Where the user set it: in the block's own table, or in the table that the block takes it from."""
    if path and path[0] in ORIGIN and path[0] not in table:
        return ORIGIN[str(path[0])]
    if not path and not table:
        return ("compute",) if name == platform(manifest).component else ("service",)
    return (name, *path)


def _below(path: Path, broken: list[Path]) -> bool:
    """Whether ``path``, or something that it depends on, was complained about already.

    A complaint about a table as a whole depends on the table's keys; one about a top-level table does not.
    """
    return any(
        path[: len(other)] == other or (len(path) > 1 and other[: len(path)] == path) for other in broken
    )


def _touched(reads: tuple[Path, ...], broken: list[Path]) -> bool:
    return any(other[: len(path)] == path for path in reads for other in broken)
