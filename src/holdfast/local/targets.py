"""What a person can break: a node, a zone, a region or a link, by its id or by an unambiguous part of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from holdfast.errors import InputError, Problem


class Kind(StrEnum):
    """What a target is; a fault acts differently on each."""

    NODE = "node"
    ZONE = "zone"
    REGION = "region"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to break. ``id`` is the full id."""

    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class Names:
    """Everything that has a name in the running system now."""

    nodes: tuple[str, ...]
    zones: tuple[str, ...]
    regions: tuple[str, ...]
    links: tuple[str, ...]

    def all(self) -> Iterable[Target]:
        """Every target, widest scope first."""
        for kind, ids in (
            (Kind.REGION, self.regions),
            (Kind.ZONE, self.zones),
            (Kind.NODE, self.nodes),
            (Kind.LINK, self.links),
        ):
            for target_id in ids:
                yield Target(kind, target_id)


def resolve(text: str, names: Names) -> Target:
    """The target that ``text`` names: an exact id, or the end of exactly one id (``ecs-1``, ``1a/alb``).

    Raises:
        InputError: nothing or more than one thing has that name; says what is near.
    """
    targets = list(names.all())
    exact = [target for target in targets if target.id == text]
    if exact:
        return exact[0]
    partial = [target for target in targets if target.id.endswith(text)]
    if len(partial) == 1:
        return partial[0]
    if partial:
        listed = ", ".join(target.id for target in partial)
        raise InputError((Problem(f'"{text}" is ambiguous: {listed}'),), hint="give more of the name")
    near = difflib.get_close_matches(text, [target.id for target in targets], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`holdfast status` lists every name"
    raise InputError((Problem(f'nothing here is called "{text}"'),), hint=hint)
