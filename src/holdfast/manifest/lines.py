"""Line numbers of the keys of a TOML text.

``tomllib`` gives values without places. This module is imported only when there is something to report.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

Path = tuple[str | int, ...]
_KEYS = ("bare_key", "quoted_key", "dotted_key")


@dataclass(slots=True)
class Lines:
    """Where each key was first written, and which keys were written again (path, line)."""

    at: dict[Path, int] = field(default_factory=dict)
    again: list[tuple[Path, int]] = field(default_factory=list)

    def find(self, path: Path) -> int | None:
        """The line, from 1, of the longest known prefix of ``path``."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.at:
                return self.at[path[:end]]
        return None


def index(text: str) -> Lines:
    """The places of all keys in ``text``, which need not be valid TOML."""
    return _Walk().run(Parser(Language(tree_sitter_toml.language())).parse(text.encode()).root_node)


class _Walk:
    """One pass over a syntax tree. ``written`` paths stand in the file themselves, not only as a parent."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.written: set[Path] = set()
        self.counts: dict[Path, int] = {}

    def run(self, root: Node) -> Lines:
        for node in root.children:
            if node.type == "pair":
                self._pair((), node)
            elif node.type in ("table", "table_array_element"):
                self._table(node)
        return self.lines

    def _table(self, node: Node) -> None:
        path: Path = _path(node)
        if node.type == "table_array_element":
            self.counts[path] = self.counts.get(path, -1) + 1
            self.lines.at.setdefault(path, _line(node))
            path = (*path, self.counts[path])
        self._note(path, node)
        for child in node.children:
            if child.type == "pair":
                self._pair(path, child)

    def _pair(self, above: Path, node: Node) -> None:
        path = (*above, *_path(node))
        self._note(path, node)
        for i, item in _items(node):
            here = path if i is None else (*path, i)
            self.lines.at.setdefault(here, _line(item))
            for pair in item.children:
                if pair.type == "pair":
                    self._pair(here, pair)

    def _note(self, path: Path, node: Node) -> None:
        for end in range(1, len(path) + 1):
            self.lines.at.setdefault(path[:end], _line(node))
        if path in self.written:
            self.lines.again.append((path, _line(node)))
        self.written.add(path)


def _items(pair: Node) -> Iterator[tuple[int | None, Node]]:
    """The tables and values inside of a pair's value; numbered where they stand in an array."""
    value = pair.children[-1]
    if value.type == "inline_table":
        yield None, value
    elif value.type == "array":
        yield from enumerate(child for child in value.children if child.is_named and child.type != "comment")


def _path(node: Node) -> tuple[str, ...]:
    key = next((child for child in node.children if child.type in _KEYS), None)
    if key is None or key.text is None:
        return ()
    try:
        parsed = tomllib.loads(key.text.decode() + " = 0")
    except tomllib.TOMLDecodeError:
        return ()
    return tuple(_chain(parsed))


def _chain(parsed: object) -> Iterator[str]:
    while isinstance(parsed, dict):
        name, parsed = next(iter(parsed.items()))
        yield name


def _line(node: Node) -> int:
    return node.start_point[0] + 1
