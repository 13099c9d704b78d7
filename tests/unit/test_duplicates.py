"""No function of the product is a copy of another one, whatever its names and docstring."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).parents[2] / "src" / "holdfast"
SMALLEST = 3
"""Statements from which on a copy counts; two components may well answer a question with the same single call."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Anonymous(ast.NodeTransformer):
    """Give every local name and argument the same name. Attributes and constants stay: they are what differs."""

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name("_", node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg("_")


def shape(function: Function) -> str:
    """What a function does, without names."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return "\n".join(ast.dump(Anonymous().visit(line)) for line in body)


def functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function) and statements(node) >= SMALLEST:
            yield node


def statements(function: Function) -> int:
    """How many it has, nested ones too, without its docstring."""
    inside = (node for line in function.body for node in ast.walk(line))
    return sum(isinstance(node, ast.stmt) for node in inside) - (ast.get_docstring(function) is not None)


def copies(sources: dict[str, str]) -> list[list[str]]:
    """Groups of ``file:function`` that do the same."""
    found: dict[str, list[str]] = defaultdict(list)
    for file, source in sources.items():
        for function in functions(ast.parse(source)):
            found[shape(function)].append(f"{file}:{function.name}")
    return [places for places in found.values() if len(places) > 1]


def test_no_function_is_a_copy() -> None:
    assert (
        copies({str(path.relative_to(SRC)): path.read_text("utf-8") for path in sorted(SRC.rglob("*.py"))})
        == []
    )


LONG = """\
def {name}({arg}):
    "{name}"
    out = []
    for x in {arg}:
        if x.ok and x.size > {limit}:
            out.append((x.name, x.size))
    return sorted(out)
"""


def test_a_renamed_copy_is_seen() -> None:
    sources = {name: LONG.format(name=name, arg=name * 2, limit=3) for name in ("a", "b")}
    assert copies(sources) == [["a:a", "b:b"]]


def test_another_constant_is_no_copy() -> None:
    assert copies({name: LONG.format(name=name, arg="x", limit=n) for n, name in enumerate("ab")}) == []
