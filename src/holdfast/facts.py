"""Dated figures about AWS, kept as TOML beside the component they describe.

A fact's key is ``<component>.<name>``; the file is ``components/<component>.toml`` and holds one table per fact
with ``value``, ``unit``, ``source`` and ``as_of``. A missing fact is an error that names it, never zero.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

from holdfast.errors import HoldfastError
from holdfast.model import Fact


@cache
def load(component: str) -> dict[str, Fact]:
    """All facts of one component, by short name. An absent file means no facts.

    Raises:
        HoldfastError: the file is not valid or an entry lacks its source or date.
    """
    path = resources.files("holdfast.components") / f"{component}.toml"
    if not path.is_file():
        return {}
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _fact(component, name, table) for name, table in tables.items()}


def _fact(component: str, name: str, table: dict[str, object]) -> Fact:
    key = f"{component}.{name}"
    missing = [field for field in ("value", "unit", "source", "as_of") if table.get(field) in (None, "")]
    if missing:
        raise HoldfastError(
            f"fact {key} lacks {', '.join(missing)}", hint=f"add it to components/{component}.toml"
        )
    minimum, maximum = table.get("min"), table.get("max")
    return Fact(
        key=key,
        value=table["value"],
        unit=str(table["unit"]),
        source=str(table["source"]),
        as_of=str(table["as_of"]),
        confidence=str(table.get("confidence", "medium")),
        minimum=float(minimum) if isinstance(minimum, int | float) else None,
        maximum=float(maximum) if isinstance(maximum, int | float) else None,
        notes=str(table.get("notes", "")),
    )


def get(key: str) -> Fact:
    """The fact ``<component>.<name>``.

    Raises:
        HoldfastError: there is no such fact.
    """
    component, _, name = key.partition(".")
    facts = load(component)
    if name not in facts:
        raise HoldfastError(
            f"no fact {key}", hint=f"add [{name}] to components/{component}.toml with source and date"
        )
    return facts[name]


def number(key: str) -> float:
    """The value of a numeric fact, in the fact's own unit."""
    return float(get(key).value)
