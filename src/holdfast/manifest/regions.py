"""Which AWS Regions there are and how many zones each offers, from ``regions.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((resources.files("holdfast.manifest") / "regions.toml").read_text(encoding="utf-8"))


def known() -> tuple[str, ...]:
    """All region names of the standard partition."""
    return tuple(_data()["names"]["value"])


def as_of() -> str:
    """The day the list of names was read."""
    return str(_data()["names"]["as_of"])


def zones(region: str) -> int:
    """Availability Zones that an account can use in ``region``."""
    table = _data()["zones"]
    return int(table["exceptions"].get(region, table["value"]))


def zone_names(region: str, count: int) -> tuple[str, ...]:
    """``eu-west-1a``, ``eu-west-1b``, ...: the first ``count`` zone names of ``region``."""
    return tuple(region + letter for letter in "abcdef"[:count])
