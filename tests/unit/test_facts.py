"""Loading dated figures: what is there is typed, what is missing is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import facts
from holdfast.errors import HoldfastError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that stands in for the components' facts."""
    monkeypatch.setattr("holdfast.facts.resources.files", lambda package: tmp_path)
    facts.load.cache_clear()
    yield tmp_path
    facts.load.cache_clear()


WHOLE = '[one]\nvalue = 5\nunit = "seconds"\nsource = "https://example.com"\nas_of = "2026-11"\n'


def test_a_fact_knows_its_key_and_range(folder: Path) -> None:
    (folder / "block.toml").write_text(WHOLE + "min = 1\nmax = 9\n")
    fact = facts.get("block.one")
    assert (fact.key, fact.value, fact.unit, fact.minimum, fact.maximum) == ("block.one", 5, "seconds", 1, 9)
    assert facts.number("block.one") == 5.0


def test_an_unknown_fact_is_an_error_that_names_it() -> None:
    with pytest.raises(HoldfastError, match=r"no fact alb\.no_such_thing") as caught:
        facts.get("alb.no_such_thing")
    assert caught.value.hint
    assert "components/alb.toml" in caught.value.hint


def test_a_component_without_a_file_has_no_facts(folder: Path) -> None:
    assert facts.load("nothing") == {}
    with pytest.raises(HoldfastError, match=r"no fact nothing\.at_all"):
        facts.number("nothing.at_all")


@pytest.mark.parametrize("field", ["unit", "source", "as_of"])
def test_a_fact_without_its_origin_is_refused(folder: Path, field: str) -> None:
    lines = [line for line in WHOLE.splitlines() if not line.startswith(field)]
    (folder / "block.toml").write_text("\n".join(lines))
    with pytest.raises(HoldfastError, match=rf"fact block\.one lacks {field}"):
        facts.load("block")


def test_zero_and_false_are_values(folder: Path) -> None:
    rest = WHOLE.partition("value = 5\n")[2]
    (folder / "block.toml").write_text(f"[zero]\nvalue = 0\n{rest}[no]\nvalue = false\n{rest}")
    assert facts.number("block.zero") == 0
    assert facts.get("block.no").value is False


def test_a_figure_that_other_code_depends_on_is_carried_over() -> None:
    assert facts.number("route53.healthy_checker_share") == 0.18
    assert facts.number("ecs.stop_timeout") == 30
    assert facts.number("alb.dns_ttl") == 60
