"""The text of a manifest: parsed, overlaid for one environment, and able to say where each key stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from holdfast.errors import InputError, Problem
from holdfast.manifest.complaints import Complaint, Path, suggest

if TYPE_CHECKING:
    from holdfast.manifest.lines import Lines

MAX_DEPTH = 16
"""No table of a manifest is nested this deep; it bounds every recursion over one."""


class Source:
    """One manifest file. ``data`` is the whole parsed document, overlays included.

    Raises:
        InputError: the text is not TOML.
    """

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.data = self._parse()

    @cached_property
    def lines(self) -> Lines:
        """Line numbers; the parser behind them is loaded only when something is wrong."""
        from holdfast.manifest.lines import index

        return index(self.text)

    @property
    def environments(self) -> tuple[str, ...]:
        """Names of the ``[env.NAME]`` overlays, in file order."""
        overlays = self.data.get("env", {})
        return tuple(overlays) if isinstance(overlays, dict) else ()

    def view(self, env: str | None) -> View:
        """The manifest for one environment; the bare one for ``None``.

        Raises:
            InputError: there is no such overlay, or it is not a table.
        """
        base = {key: value for key, value in self.data.items() if key != "env"}
        if env is None:
            return View(self, base, None, {})
        overlay = self.data["env"][env] if env in self.environments else None
        if not isinstance(overlay, dict):
            problem = (
                f"[env.{env}] is not a table" if overlay is not None else f'there is no environment "{env}"'
            )
            hint = suggest(env, self.environments) or "an environment is an [env.NAME] table in the manifest"
            raise InputError((Problem(problem, file=self.file, hint=hint),))
        return View(self, merge(base, overlay), env, overlay)

    def _parse(self) -> dict[str, Any]:
        try:
            data = tomllib.loads(self.text)
        except RecursionError:
            raise InputError((Problem("is nested too deep", file=self.file),)) from None
        except ValueError as error:
            raise InputError(self._syntax(str(error))) from None
        if _too_deep(data):
            raise InputError((Problem("is nested too deep", file=self.file),))
        return data

    def _syntax(self, message: str) -> tuple[Problem, ...]:
        """tomllib stops at the first error; keys written twice are found all at once."""
        twice = tuple(
            Problem("is written twice", self.file, line, dotted(path), f"first in line {self.lines.at[path]}")
            for path, line in self.lines.again
        )
        if twice:
            return twice
        if "digits" in message:
            return (Problem("is not valid TOML: a number has too many digits", self.file),)
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
        line = int(place[1]) if place and place[1] else self.text.count("\n") + 1 if place else None
        return (
            Problem(f"is not valid TOML: {message[: place.start()] if place else message}", self.file, line),
        )


@dataclass(frozen=True, slots=True)
class View:
    """What one environment sees: ``data`` is the base with ``overlay`` merged over it."""

    source: Source
    data: dict[str, Any]
    env: str | None
    overlay: Mapping[str, Any]

    def problem(self, complaint: Complaint) -> Problem:
        """``complaint`` with file, line and the key as it stands in the file."""
        path = self.written(_within(self.data, complaint.path))
        return Problem(
            message=complaint.message,
            file=self.source.file,
            line=self.source.lines.find(path),
            key=dotted(path) or None,
            hint=complaint.hint,
        )

    def written(self, path: Path) -> Path:
        """``path`` where it stands in the file: below ``env.NAME`` where the overlay says it."""
        return ("env", self.env, *path) if self.env is not None and _holds(self.overlay, path) else path

    def from_overlay(self, complaint: Complaint) -> bool:
        """Whether the complaint is about something that the overlay says."""
        return self.written(complaint.path) != complaint.path


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``: tables merge, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def dotted(path: Path) -> str:
    """``compute.replicas.min``; a part that is no bare key is quoted, as TOML wants it."""
    parts = (str(part) if re.fullmatch(r"[\w-]+", str(part), re.ASCII) else f'"{part}"' for part in path)
    return ".".join(parts)


def _within(document: Mapping[str, Any], path: Path) -> Path:
    """``path`` as far as the document goes, and one missing key: pydantic adds the names of alternatives."""
    here: Any = document
    for i, part in enumerate(path):
        if isinstance(here, dict):
            if part not in here:
                return path[: i + 1]
            here = here[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            return path[:i]
    return path


def _holds(table: Any, path: Path) -> bool:
    """Whether ``path`` leads to something inside of ``table``."""
    try:
        for part in path:
            table = table[part]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _too_deep(data: dict[str, Any]) -> bool:
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        level = [item for value in level for item in (value.values() if isinstance(value, dict) else value)]
        level = [item for item in level if isinstance(item, dict | list)]
    return bool(level)
