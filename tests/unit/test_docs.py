"""What the documentation refers to exists, and the manifest's page says what the code does."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from holdfast.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SCRIPT = ROOT / "scripts" / "manifest_reference.py"
FIDELITY = DOCS / "fidelity.md"
PAGES = sorted(page for page in (ROOT / "README.md", *DOCS.rglob("*.md")) if page.exists())

LINK = re.compile(r"\]\(([^)\s]+)\)")
TEST = re.compile(r"`(test_\w+)`")
BULLET = re.compile(r"^- .*?(?=^- |\Z)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference: Any = imported(SCRIPT)


def prose(page: Path) -> str:
    """The text of a page without its code blocks."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def known_tests() -> set[str]:
    """The names of all tests of the project."""
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for source in sources for name in re.findall(r"def (test_\w+)", source)}


def as_on_aws() -> list[str]:
    """The entries of the lists headed "As on AWS"."""
    parts = re.split(r"^\*\*(.+)\*\*$|^## .+$", FIDELITY.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lists = (text for head, text in zip(parts[1::2], parts[2::2], strict=True) if head == "As on AWS")
    return [bullet.strip() for text in lists for bullet in BULLET.findall(text)]


def test_the_manifests_page_is_up_to_date() -> None:
    kept = reference.PAGE.read_text(encoding="utf-8")
    assert kept == reference.page(), "run: python scripts/manifest_reference.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert not list(broken_links(page))


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A head\n[a](nowhere.md) [b](#a-head) [c](#no-head) [d](page.md)\n", encoding="utf-8")
    assert list(broken_links(page)) == ["nowhere.md", "#no-head"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    assert not set(TEST.findall(page.read_text(encoding="utf-8"))) - known_tests()


def test_every_block_has_its_entries() -> None:
    assert len(as_on_aws()) >= 40


@pytest.mark.parametrize("entry", as_on_aws(), ids=lambda entry: entry[2:50])
def test_what_is_as_on_aws_has_a_page_and_a_test(entry: str) -> None:
    links = LINK.findall(entry)
    assert links
    assert all(link.startswith("https://") for link in links)
    assert TEST.search(entry)


def test_every_command_and_option_is_described() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    heads = " ".join(line for line in text.splitlines() if line.startswith("## "))
    options = {
        option
        for command in main.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    }
    assert not [name for name in main.commands if not re.search(rf"`{name}\b", heads)]
    assert not [option for option in options if not re.search(rf"`{option}\b", text)]
