"""``init``: a manifest and a small service that runs. The files are package data below ``templates/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from holdfast.errors import EnvironmentProblem, InputError, Problem
from holdfast.manifest import FILE_NAME
from holdfast.manifest.complaints import suggest

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "asgi": "plain Python (ASGI), nothing to install",
        "fastapi": "FastAPI; needs: pip install fastapi",
        "flask": "Flask (WSGI); needs: pip install flask",
    }
)
"""Names of the templates and what each needs."""

_NAME_MARK = "@NAME@"


def write(directory: Path, template: str = "asgi") -> tuple[Path, ...]:
    """Write the template's files into ``directory``, which is made where it is absent; gives their paths.

    Nothing is written when one of them is there already.

    Raises:
        InputError: there is no such template, or files are in the way; all of them are listed.
        EnvironmentProblem: the folder cannot be written.
    """
    files = _render(template, service_name(directory))
    taken = [directory / name for name in files if (directory / name).exists()]
    if taken:
        problems = tuple(Problem("is there already", file=str(path)) for path in taken)
        raise InputError(problems, hint="nothing was written; choose an empty folder or move the files away")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with (directory / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write to {directory}: {error.strerror or error}") from error
    return tuple(directory / name for name in files)


def service_name(directory: Path) -> str:
    """The folder's name as a service name: lower-case letters, digits and hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", directory.absolute().resolve().name.lower()).strip("-")
    name = re.sub(r"^[^a-z]+", "", name)[:40].rstrip("-")
    return name or "my-api"


def _render(template: str, name: str) -> dict[str, str]:
    """File name -> text; the manifest is shared by all templates."""
    if template not in TEMPLATES:
        raise InputError((Problem(f'there is no template "{template}"', hint=suggest(template, TEMPLATES)),))
    folder = resources.files("holdfast") / "templates"
    parts = {FILE_NAME: folder / FILE_NAME, **_files(folder / template)}
    return {file: part.read_text(encoding="utf-8").replace(_NAME_MARK, name) for file, part in parts.items()}


def _files(folder: Traversable) -> dict[str, Traversable]:
    """Every file of a template; ``.txt`` is appended there so that tools leave the programs alone."""
    found = sorted(folder.iterdir(), key=lambda item: item.name)
    return {item.name.removesuffix(".txt"): item for item in found if item.is_file()}
