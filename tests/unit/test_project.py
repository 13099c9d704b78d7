"""The project's own files agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import holdfast

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
DOCUMENTED = re.findall(
    r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs" / "dependencies.md").read_text("utf-8"), re.MULTILINE
)


def name_of(requirement: str) -> str:
    """``uvloop`` of ``uvloop>=0.20; sys_platform != 'win32'``."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return found[0].lower()


def declared() -> set[str]:
    """Every package that pyproject.toml names."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    lists = [project["dependencies"], *project["optional-dependencies"].values(), *groups.values()]
    return {name_of(requirement) for requirements in lists for requirement in requirements}


def locked() -> dict[str, list[str]]:
    """Name to hashes of every entry of the lock."""
    entries = re.findall(r"^([a-z0-9._-]+)==[^\n]*((?:\n +--hash=[^\n]*)*)", LOCK, re.MULTILINE)
    return {name: re.findall(r"sha256:([0-9a-f]{64})", hashes) for name, hashes in entries}


def test_the_changelog_has_this_version() -> None:
    versions = re.findall(r"^## \[([^\]]+)\]", CHANGELOG, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert versions[1] == holdfast.__version__


def test_the_lock_has_every_dependency_with_hashes() -> None:
    assert declared() - locked().keys() == set()
    assert [name for name, hashes in locked().items() if not hashes] == []


def test_the_lock_names_no_registry() -> None:
    assert "://" not in LOCK


def test_every_dependency_is_explained_and_none_twice() -> None:
    assert sorted(DOCUMENTED) == sorted(declared())


@pytest.mark.parametrize(
    "row", re.findall(r"^\| `.*$", (ROOT / "docs" / "dependencies.md").read_text("utf-8"), re.M)
)
def test_an_explanation_has_reason_licence_release_and_state(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    assert len(cells) == 5
    assert all(cells)
    name, release = cells[0].strip("`"), cells[3].partition(",")[0]
    assert f"\n{name}=={release}" in LOCK


def test_the_package_is_typed() -> None:
    assert (ROOT / "src" / "holdfast" / "py.typed").exists()


def test_the_licence_is_what_the_project_declares() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in text
