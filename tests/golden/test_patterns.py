"""One folder a reference architecture: the manifest, and what ``check`` and ``check --json`` say about it.

``./dev golden`` writes them anew; reviewers read the difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import manifest, patterns, report
from holdfast.topology import resolve

pytestmark = pytest.mark.golden
HERE = Path(__file__).parent


@pytest.mark.parametrize("name", patterns.NAMES)
def test_check(name: str, golden: Callable[[str, str], None]) -> None:
    folder = HERE / name
    topology = resolve(manifest.load(folder / "holdfast.toml"))
    as_json = report.to_json(topology)
    as_json["service"]["root"] = "."  # the only value that depends on where the repository is
    golden(f"{name}/tree.txt", report.tree(topology) + "\n")
    golden(f"{name}/topology.json", json.dumps(as_json, indent=1) + "\n")


@pytest.mark.parametrize("name", patterns.NAMES)
def test_the_manifest_is_the_pattern(name: str) -> None:
    written = resolve(manifest.load(HERE / name / "holdfast.toml"))
    named = resolve(patterns.pattern(name))
    assert (written.groups, written.links) == (named.groups, named.links)
