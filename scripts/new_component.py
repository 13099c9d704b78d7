"""Write the two files of a new AWS block: ``python scripts/new_component.py NAME ROLE [--global]``.

The block imports and passes mypy, but not the contract test: that asks for its failure modes and its facts.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from holdfast.model import Role

COMPONENTS = Path(__file__).resolve().parents[1] / "src" / "holdfast" / "components"
NAME = re.compile(r"[a-z][a-z0-9]{1,30}")

MODULE = '''"""{title}: say in one line what it does for a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from holdfast.components.base import Component, Settings, {placer}
from holdfast.model import Behaviour, FailureMode, Group, Node, Role


class {title}Settings(Settings):
    """The ``[{name}]`` table of a manifest."""


class {title}(Component[{title}Settings]):
    """Say what is true about it and about nothing else."""

    name: ClassVar[str] = "{name}"
    role: ClassVar[Role] = Role.{role}
{regional}    Settings = {title}Settings

    def place(self, settings: {title}Settings, region: str | None, zones: tuple[str, ...]) -> tuple[Node, ...]:
        """{places}"""
        return {nodes}

    def behaviour(self, settings: {title}Settings) -> Behaviour:
        """Each number names its setting or fact in ``because``."""
        return Behaviour()

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """Worst first."""
        return ()

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """What the platform tells a program about itself."""
        return {{}}
'''
FACTS = """# Facts about {title}.
# `source` owns the figure, `as_of` is when it was read; `min` and `max` are what may be set, or what was observed.
"""


def files(name: str, role: Role, *, regional: bool) -> dict[str, str]:
    """The contents of the block's files by file name."""
    words = {
        "name": name,
        "title": name.capitalize(),
        "role": role.name,
        "regional": "" if regional else "    regional: ClassVar[bool] = False\n",
        "placer": "one_per_zone" if regional else "node_id",
        "places": "One node in each zone." if regional else "One node outside of every region.",
        "nodes": "one_per_zone(self.name, zones)" if regional else "(Node(node_id(None, self.name), None),)",
    }
    return {f"{name}.py": MODULE.format(**words), f"{name}.toml": FACTS.format(**words)}


def main(argv: list[str] | None = None, folder: Path = COMPONENTS) -> int:
    """Returns the exit code: 0 written, 2 the name is wrong or taken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="AWS's own word as moto spells it, such as apigateway")
    parser.add_argument("role", type=Role, choices=list(Role), help="what it does for a request")
    parser.add_argument("--global", dest="regional", action="store_false", help="outside of every region")
    wanted = parser.parse_args(argv)
    if not NAME.fullmatch(wanted.name):
        return refuse(f"{wanted.name!r} is not a name: 2 to 31 lower-case letters and digits")
    made = files(wanted.name, wanted.role, regional=wanted.regional)
    taken = [file for file in made if (folder / file).exists()]
    if taken:
        return refuse(f"there already: {', '.join(taken)}")
    for file, text in made.items():
        (folder / file).write_text(text, encoding="utf-8")
    print(
        f"wrote {' and '.join(made)}; now add {wanted.name.capitalize()}() to REGISTRY in components/__init__.py,"
    )
    print("where a request meets it, then run ./dev test tests/contract and follow what it asks for")
    return 0


def refuse(reason: str) -> int:
    """Say why nothing was written."""
    print(f"new_component: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
