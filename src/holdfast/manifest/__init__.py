"""The manifest, ``holdfast.toml``: what a user writes. Load it, overlay it, say all that is wrong.

::

    text ── source ──► View (data + lines) ── validate ──► Manifest
                                                 └───────► Complaint ──► Problem(file, line, key)
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.errors import InputError, Problem
from holdfast.manifest.declare import (
    ORIGIN,
    PLATFORMS,
    Platform,
    declared,
    domain,
    platform,
    settings,
    weights,
)
from holdfast.manifest.regions import zone_names
from holdfast.manifest.schema import Compute, Entry, Load, Manifest, Objectives, Regions, Scale, Service
from holdfast.manifest.source import Source
from holdfast.manifest.validate import examine

FILE_NAME = "holdfast.toml"

__all__ = [
    "FILE_NAME",
    "ORIGIN",
    "PLATFORMS",
    "Compute",
    "Entry",
    "Load",
    "Manifest",
    "Objectives",
    "Platform",
    "Regions",
    "Scale",
    "Service",
    "declared",
    "domain",
    "find",
    "load",
    "parse",
    "platform",
    "settings",
    "weights",
    "zone_names",
]


def find(start: Path) -> Path:
    """The manifest in ``start`` or the nearest folder above it.

    Raises:
        InputError: there is none.
    """
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    problem = Problem(f"no {FILE_NAME} in {start} or any folder above it")
    raise InputError((problem,), hint="write one with: holdfast init")


def load(path: Path, env: str | None = None) -> Manifest:
    """The manifest in file ``path``, with the overlay ``[env.<env>]`` where one is asked for.

    Overlays that are not asked for are checked as well.

    Raises:
        InputError: it cannot be read or is wrong; all problems at once, in file order.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(
            (Problem(f"there is no file {path}"),), hint="write one with: holdfast init"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError((Problem(f"is not UTF-8 text (byte {error.start})", file=_shown(path)),)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError((Problem(f"cannot be read: {reason}", file=_shown(path)),)) from None
    return parse(text, file=_shown(path), folder=str(path.absolute().parent), env=env)


def parse(text: str, *, file: str = FILE_NAME, folder: str = ".", env: str | None = None) -> Manifest:
    """As :func:`load`, from ``text``; paths in it are relative to ``folder``.

    Raises:
        InputError: it is wrong; all problems at once, in file order.
    """
    source = Source(text, file)
    view = source.view(env)
    manifest, complaints = examine(view.data, folder)
    problems = [view.problem(complaint) for complaint in complaints]
    problems += _other_environments(source, folder, env)
    if problems:
        unique = dict.fromkeys(problems)
        raise InputError(tuple(sorted(unique, key=lambda problem: problem.line or 0)))
    return manifest


def _other_environments(source: Source, folder: str, env: str | None) -> list[Problem]:
    overlays = source.data.get("env", {})
    if not isinstance(overlays, dict):
        return [Problem("expected tables named [env.NAME]", source.file, source.lines.find(("env",)), "env")]
    problems: list[Problem] = []
    for name in source.environments:
        if not isinstance(overlays[name], dict):
            line = source.lines.find(("env", name))
            hint = "environment variables of the program are in [service.env]"
            problems.append(Problem("expected a table of overrides", source.file, line, f"env.{name}", hint))
        elif name != env:
            view = source.view(name)
            complaints = examine(view.data, folder)[1]
            problems += (view.problem(item) for item in complaints if view.from_overlay(item))
    return problems


def _shown(path: Path) -> str:
    """Short where the file is below the working directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
