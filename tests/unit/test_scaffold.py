"""``init``: files that run, and never over somebody's work."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from holdfast import manifest, scaffold
from holdfast.errors import EnvironmentProblem, InputError
from holdfast.manifest import parse
from holdfast.topology import resolve


@pytest.mark.parametrize("template", scaffold.TEMPLATES)
def test_what_is_written_is_a_manifest_that_resolves(tmp_path: Path, template: str) -> None:
    written = scaffold.write(tmp_path / "My Orders_API", template)
    assert {path.name for path in written} >= {"holdfast.toml", "app.py"}
    for env in (None, "small"):
        found = manifest.load(written[0], env)
        assert found.service.name == "my-orders-api"
        assert resolve(found).app.target == "app:app"
    assert not any("@" in path.read_text() for path in written if path.name != "app.py")


@pytest.mark.parametrize("template", scaffold.TEMPLATES)
def test_the_service_imports_and_answers(tmp_path: Path, template: str) -> None:
    pytest.importorskip({"asgi": "json"}.get(template, template))
    app = runpy.run_path(str(scaffold.write(tmp_path, template)[1]))["app"]
    assert callable(app)


def test_the_plain_service_is_healthy_and_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_ZONE", "eu-west-1a")
    app = runpy.run_path(str(scaffold.write(tmp_path / "orders")[1]))["app"]
    assert ask(app, "/health") == (200, {"status": "ok"})
    status, body = ask(app, "/")
    assert (status, body["service"], body["zone"]) == (200, "orders", "eu-west-1a")
    assert ask(app, "/nothing")[0] == 404


def ask(app: Any, path: str) -> tuple[int, Any]:
    """One request to an ASGI program, without a server."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app({"type": "http", "method": "GET", "path": path}, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_what_is_commented_out_is_the_default(tmp_path: Path) -> None:
    text = scaffold.write(tmp_path / "orders")[0].read_text()
    # A line that starts with "# key =" or "# [table]" is a setting; the rest of the comments are prose.
    settings = re.sub(r"(?m)^# (?=\[|\w+ +=|\w+ =)", "", text)
    assert settings.count("#") < text.count("#")
    bare, full = (
        parse(text, folder=str(tmp_path / "orders")),
        parse(settings, folder=str(tmp_path / "orders")),
    )
    left, right = resolve(bare), resolve(full)
    assert dict(right.app.env) == {"LOG_LEVEL": "info"}
    assert (left.groups, left.links, left.routing) == (right.groups, right.links, right.routing)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine")
    with pytest.raises(InputError) as caught:
        scaffold.write(tmp_path)
    assert [problem.file for problem in caught.value.problems] == [str(tmp_path / "app.py")]
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]
    assert (tmp_path / "app.py").read_text() == "mine"


def test_an_unknown_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='did you mean "fastapi"'):
        scaffold.write(tmp_path, "fastap")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match="cannot write to"):
        scaffold.write(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("orders", "orders"),
        ("My API!", "my-api"),
        ("9-lives", "lives"),
        ("été", "t"),
        ("日本", "my-api"),
        ("a" * 99, "a" * 40),
    ],
)
def test_names_come_from_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert scaffold.service_name(tmp_path / folder) == name
