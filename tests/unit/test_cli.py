"""The command line as a user meets it: what it prints where, and what it exits with. A process for each call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast

MANIFEST = '[service]\nname = "orders"\ncommand = ["sh", "{port}"]\n'
COMMANDS = (
    *("init", "check", "up", "status", "logs", "scale", "reload", "down"),
    *("kill", "pause", "cut", "resume", "interrupt"),
)
WITH_EXAMPLES = ("init", "check", "up", "logs", "scale", "kill", "pause", "cut", "resume", "interrupt")


def run(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "holdfast", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "holdfast.toml").write_text(MANIFEST)
    return tmp_path


def test_help_shows_every_command_and_where_to_start(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "holdfast up my-api" in done.stdout
    listed = {line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line.strip()}
    assert listed >= set(COMMANDS)


def test_every_commands_help_has_an_example(tmp_path: Path) -> None:
    """In one process: the help of a command imports nothing heavy."""
    from click.testing import CliRunner

    from holdfast.cli import main

    for name in COMMANDS:
        text = CliRunner().invoke(main, [name, "--help"], prog_name="holdfast").output
        assert text.startswith(f"Usage: holdfast {name}"), text
        assert ("Example" in text) == (name in WITH_EXAMPLES), text
        if name in WITH_EXAMPLES:
            assert f"holdfast {name} " in text.partition("Example")[2], text


def test_the_version(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout == f"holdfast, version {holdfast.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("explode",), "No such command 'explode'"),
        (("kill",), "Missing argument 'TARGET'"),
        (("scale", "none"), "'none' is not a valid integer"),
        (("up", "--speed", "0.5"), "0.5"),
        (("up", "--http-port", "70000"), "70000"),
        (("status", "--colour"), "No such option"),
    ],
)
def test_a_wrong_command_line_is_your_input(project: Path, arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments, cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_bad_manifest_is_answered_with_all_its_problems(project: Path) -> None:
    (project / "holdfast.toml").write_text(
        MANIFEST + '[compute]\npatern = "ec2"\n[regions]\nzones = "three"\n'
    )
    for command in ("check", "up"):
        done = run(command, cwd=project)
        assert (done.returncode, done.stdout) == (2, "")
        first, second = (line for line in done.stderr.splitlines() if line.startswith("error: "))
        assert first.startswith("error: holdfast.toml:5: [compute.patern]")
        assert 'did you mean "pattern"' in first
        assert second.startswith("error: holdfast.toml:7: [regions.zones]")


def test_a_folder_without_a_manifest_says_how_to_write_one(tmp_path: Path) -> None:
    done = run("check", cwd=tmp_path)
    assert done.returncode == 2
    assert "no holdfast.toml" in done.stderr
    assert "hint: write one with: holdfast init" in done.stderr


@pytest.mark.parametrize("command", [("status",), ("reload",), ("scale", "3"), ("kill", "eu-west-1a")])
def test_without_a_running_system_it_is_the_environment(project: Path, command: tuple[str, ...]) -> None:
    done = run(*command, cwd=project)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"no system runs for {project}" in done.stderr
    assert "hint: `holdfast up` starts it" in done.stderr


def test_down_without_a_running_system_is_good(project: Path) -> None:
    done = run("down", "--json", cwd=project)
    assert done.returncode == 0
    assert json.loads(done.stdout)["stopped"] is False


def test_check_shows_the_topology_and_as_json_one_object(project: Path) -> None:
    tree = run("check", cwd=project)
    assert tree.returncode == 0
    assert "eu-west-1a" in tree.stdout
    rows = run("check", "--json", cwd=project)
    assert json.loads(rows.stdout)["service"]["name"] == "orders"
    assert rows.stdout.count("\n") == 1, "off a terminal, one line"


def test_a_closed_pipe_is_no_error(project: Path) -> None:
    command = f"{sys.executable} -m holdfast check | head -n 0; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_off_a_terminal_there_are_no_colours(project: Path) -> None:
    assert "\x1b" not in run("check", cwd=project).stdout
    assert "\x1b" not in run("status", cwd=project).stderr


def test_a_plan_starts_nothing(project: Path) -> None:
    done = run("up", "--plan", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert {"eu-west-1a/proxy", "us-east-1c/proxy", "global/edge", "global/cache"} <= {
        row["name"] for row in plan["processes"]
    }
    assert len(plan["nodes"]) == 6
    assert not (project / ".holdfast").exists()


def test_init_check_and_a_second_init(tmp_path: Path) -> None:
    assert run("init", "my-api", cwd=tmp_path).returncode == 0
    assert run("check", "my-api", cwd=tmp_path).returncode == 0
    again = run("init", "my-api", cwd=tmp_path)
    assert again.returncode == 2
    assert "holdfast.toml" in again.stderr
