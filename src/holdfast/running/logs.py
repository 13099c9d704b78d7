"""What the programs of a system printed, and what happened in it."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from holdfast.errors import EnvironmentProblem, InputError, Problem
from holdfast.running.find import connect, project_of

POLL_S = 0.5


def event_line(row: Mapping[str, Any]) -> str:
    """One event for people: when, what about, what."""
    message, subject = row["message"], row["subject"]
    about = "" if subject in message or subject == "system" else f"{subject}: "
    return f"{time.strftime('%H:%M:%S', time.localtime(row['t']))}  {about}{message}"


def show_events(directory: Path | None, *, follow: bool, last: int, as_json: bool) -> None:
    """Print the last events, then new ones as they come."""
    client = connect(directory)
    answer = client.get("events")
    rows = [row for row in answer["events"] if as_json or row["kind"] != "process"][-last:] if last else []
    while True:
        for row in rows:
            click.echo(json.dumps(row) if as_json else event_line(row))
        if not follow:
            return
        answer = client.get(f"events?after={answer['last']}&wait=20")
        rows = [row for row in answer["events"] if as_json or row["kind"] != "process"]


def show_logs(directory: Path | None, name: str | None, *, follow: bool, last: int) -> None:
    """Print the end of each log, then new lines as they come. A log is named after its process."""
    folder = project_of(directory) / ".holdfast" / "run" / "logs"
    if not folder.is_dir():
        raise EnvironmentProblem(f"no logs in {folder}", hint="`holdfast up` starts the system")
    paths = _matching(folder, name)
    for path in paths:
        for line in _tail(path, last):
            click.echo(_prefixed(path, line, several=len(paths) > 1))
    offsets = {path: path.stat().st_size for path in paths}
    while follow:
        time.sleep(POLL_S)
        paths = _matching(folder, name)
        for path in paths:
            for line in _new_lines(path, offsets):
                click.echo(_prefixed(path, line, several=len(paths) > 1))


def _matching(folder: Path, name: str | None) -> list[Path]:
    paths = sorted(folder.glob("*.log"))
    wanted = [path for path in paths if name is None or path.stem.endswith(name.replace("/", "_"))]
    if not wanted:
        known = ", ".join(path.stem for path in paths)
        problem = Problem(f"no log of {name}" if paths else "no logs yet")
        raise InputError((problem,), hint=f"there are: {known}" if known else None)
    return wanted


def _tail(path: Path, count: int) -> deque[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        return deque((line.rstrip("\n") for line in file), maxlen=count)


def _new_lines(path: Path, offsets: dict[Path, int]) -> Iterator[str]:
    with path.open("rb") as file:
        file.seek(offsets.get(path, 0))
        for raw in file:
            if raw.endswith(b"\n"):
                offsets[path] = file.tell()
                yield raw.decode(errors="replace").rstrip("\n")


def _prefixed(path: Path, line: str, *, several: bool) -> str:
    return f"{path.stem} | {line}" if several else line
