"""The scaffold for a new AWS block."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from holdfast.model import Behaviour, Role

SCRIPT = Path(__file__).parents[2] / "scripts" / "new_component.py"


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


main: Any = imported(SCRIPT).main


def test_a_regional_block_stands_in_every_zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gatewaylb", "balancer"], tmp_path) == 0
    block = imported(tmp_path / "gatewaylb.py").Gatewaylb()
    nodes = block.place(block.Settings(), "eu-west-1", ("eu-west-1a", "eu-west-1b"))
    assert [node.id for node in nodes] == ["eu-west-1a/gatewaylb", "eu-west-1b/gatewaylb"]
    assert (block.name, block.role, block.regional) == ("gatewaylb", Role.BALANCER, True)
    assert block.behaviour(block.Settings()) == Behaviour()
    assert (tmp_path / "gatewaylb.toml").read_text().startswith("# Facts about Gatewaylb")
    assert "add Gatewaylb() to REGISTRY" in capsys.readouterr().out


def test_a_global_block_stands_outside_of_every_region(tmp_path: Path) -> None:
    assert main(["globalaccelerator", "dns", "--global"], tmp_path) == 0
    block = imported(tmp_path / "globalaccelerator.py").Globalaccelerator()
    assert [node.id for node in block.place(block.Settings(), None, ())] == ["global/globalaccelerator"]
    assert block.regional is False


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "alb.toml").write_text("kept")
    assert main(["alb", "balancer"], tmp_path) == 2
    assert "there already: alb.toml" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["alb.toml"]
    assert (tmp_path / "alb.toml").read_text() == "kept"


@pytest.mark.parametrize("name", ["Alb", "../alb", "a", "api-gateway", ""])
def test_a_name_is_lower_case_letters_and_digits(name: str, tmp_path: Path) -> None:
    assert main([name, "balancer"], tmp_path) == 2
    assert list(tmp_path.iterdir()) == []
