"""``./dev`` without installing anything: what it decides, and what it says when it cannot go on."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "dev"


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, in a project folder of its own."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("dev_script", str(SCRIPT))
    spec = importlib.util.spec_from_loader("dev_script", loader)
    assert spec
    module: Any = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "stamp")
    (tmp_path / "requirements.lock").write_text("a==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version = 3.11.7\n")
    return module


def test_it_can_be_executed() -> None:
    done = subprocess.run([str(SCRIPT), "--help"], capture_output=True, text=True, timeout=60, check=True)
    for command in ("setup", "up", "test", "check", "bench", "golden"):
        assert f"  {command} " in done.stdout


def test_older_pythons_can_read_it() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_only_the_standard_library_is_imported() -> None:
    nodes = list(ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("platform", "version", "says"),
    [
        ("linux", (3, 10), "3.11 or newer is needed, this is 3.10"),
        ("win32", (3, 12), "WSL"),
        ("linux", (3, 11), None),
    ],
)
def test_what_stands_in_the_way(dev: Any, platform: str, version: tuple[int, int], says: str | None) -> None:
    said = dev.obstacle(platform, version)
    assert said is None if says is None else says in said


def test_a_newer_python_must_also_start(dev: Any, tmp_path: Path) -> None:
    broken = tmp_path / "python3.13"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    found = {"python3.13": str(broken), "python3.12": sys.executable}
    assert dev.newer_python(found.get) == sys.executable
    assert dev.newer_python({}.get) is None


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml", ".venv/pyvenv.cfg"])
def test_the_fingerprint_follows_lock_project_and_interpreter(dev: Any, tmp_path: Path, name: str) -> None:
    before = dev.fingerprint()
    (tmp_path / name).write_text("changed")
    assert dev.fingerprint() != before


def test_set_up_once_is_enough(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[tuple[str, ...]] = []
    monkeypatch.setattr(dev, "usable", lambda venv: True)
    monkeypatch.setattr(dev, "pip", lambda *arguments: installed.append(arguments))
    dev.set_up_when_needed()
    assert "--require-hashes" in installed[0]
    assert {"--no-deps", "--no-build-isolation"} < set(installed[1])
    dev.set_up_when_needed()
    assert len(installed) == 2


def test_a_failed_installation_is_tried_again(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: str) -> None:
        raise dev.Failed("no network")

    monkeypatch.setattr(dev, "usable", lambda venv: True)
    monkeypatch.setattr(dev, "pip", fails)
    with pytest.raises(dev.Failed):
        dev.set_up_when_needed()
    assert not dev.STAMP.exists()


def test_without_ensurepip_it_names_the_package_to_install(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(dev.Failed, match=r"sudo apt install python3\.\d+-venv"):
        dev.make_venv()


def test_a_venv_without_a_python_is_not_usable(dev: Any) -> None:
    assert dev.usable(dev.VENV) is False


def test_a_step_that_fails_says_what_it_said(dev: Any) -> None:
    with pytest.raises(dev.Failed, match=r"the reason\nended with 7"):
        dev.ran([sys.executable, "-c", "import sys; print('the reason'); sys.exit(7)"])


def test_a_failing_setup_is_a_message_and_code_3(
    dev: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise dev.Failed("no network")

    monkeypatch.setattr(dev, "set_up_when_needed", fails)
    assert dev.main(["check"]) == 3
    assert capsys.readouterr().err == "./dev: no network\n"


def test_a_check_is_quiet_unless_it_fails(dev: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tool = dev.VENV / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "said $1"\nexit $1\n')
    tool.chmod(0o755)
    assert dev.passes("good", ("tool", "0"))
    assert "said" not in "".join(capsys.readouterr())
    assert not dev.passes("bad", ("tool", "1"))
    assert "said 1" in capsys.readouterr().err


def test_one_failing_check_does_not_hide_the_others(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def passes(name: str, command: object) -> bool:
        tried.append(name)
        return name != "format"

    monkeypatch.setattr(dev, "passes", passes)
    assert dev.check(()) == 1
    assert tried == ["format", "lint", "types", "imports"]


def test_arguments_of_test_go_to_pytest_alone(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(dev, "run", lambda *argv: ran.append(argv) or 0)
    monkeypatch.setattr(dev, "check", lambda rest: pytest.fail("checked"))
    assert dev.test(["tests/unit", "-k", "drain"]) == 0
    assert ran == [("pytest", "tests/unit", "-k", "drain")]


def test_everything_runs_even_if_the_check_fails(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(dev, "run", lambda *argv: ran.append(argv) or 0)
    monkeypatch.setattr(dev, "check", lambda rest: 1)
    assert dev.test([]) == 1
    assert "--cov" in ran[0]
