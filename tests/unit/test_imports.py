"""Who may import whom. The layers are import-linter's; the rest needs the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"

STARTERS = frozenset({"subprocess", "multiprocessing", "pty"})
STARTING_CALLS = frozenset(
    {
        "os.fork", "os.forkpty", "os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.execvpe",
        "os.posix_spawn", "os.posix_spawnp", "os.spawnv", "os.spawnve",
        "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell",
    }
)  # fmt: skip
MAY_START = ("holdfast.local.supervisor", "holdfast.local.guard")
MAY_USE_BOTO3 = ("holdfast.aws.stack", "holdfast.aws.package")


def modules() -> dict[str, ast.Module]:
    """Every module of the product by its dotted name."""
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        name = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(tree: ast.Module) -> Iterator[str]:
    """What a module imports, anywhere in it: ``a.b`` for ``import a.b``, ``a.b.c`` for ``from a.b import c``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def starts_processes(tree: ast.Module) -> list[str]:
    """The ways in which a module starts processes."""
    used = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return sorted(
        {i for i in imports(tree) if i.split(".")[0] in STARTERS} | STARTING_CALLS.intersection(used)
    )


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in allowed)


def test_layers(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert code == 0, capsys.readouterr().out


def test_only_the_supervisor_starts_processes() -> None:
    others = {name: starts_processes(tree) for name, tree in modules().items() if not within(name, MAY_START)}
    assert {name: found for name, found in others.items() if found} == {}


def test_boto3_stays_in_one_place() -> None:
    users = [
        n
        for n, tree in modules().items()
        if any(i.split(".")[0] in {"boto3", "botocore"} for i in imports(tree))
    ]
    assert [name for name in users if not within(name, MAY_USE_BOTO3)] == []


def test_components_do_not_import_each_other() -> None:
    found = {name: tree for name, tree in modules().items() if name.startswith("holdfast.components.")}
    blocks = [name for name, tree in found.items() if defines_component(tree)]
    crossing = {
        (name, i) for name in blocks for i in imports(found[name]) if within(i, tuple(set(blocks) - {name}))
    }
    assert len(blocks) > 5
    assert crossing == set()


def defines_component(tree: ast.Module) -> bool:
    """Whether a module holds an AWS block, not something that blocks share."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    named = [c for c in classes if any(ast.unparse(base).startswith("Component[") for base in c.bases)]
    assigned = [line for c in named for line in c.body if isinstance(line, ast.AnnAssign)]
    return any(ast.unparse(line.target) == "name" for line in assigned)


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "from subprocess import run",
        "def f():\n    from multiprocessing import Process",
        "import os\nos.fork()",
        "import asyncio\nasync def f():\n    await asyncio.create_subprocess_exec('ls')",
    ],
)
def test_the_scan_sees_a_start(source: str) -> None:
    assert starts_processes(ast.parse(source))


def test_the_scan_leaves_harmless_calls_alone() -> None:
    assert starts_processes(ast.parse("import os\nos.kill(1, 0)\nimport asyncio\nasyncio.run(f())")) == []
