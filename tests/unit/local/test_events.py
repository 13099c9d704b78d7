"""The event log: numbers, memory, file, followers, and a full disk."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest

from holdfast.errors import EnvironmentProblem
from holdfast.local.events import EventLog, Numbered
from holdfast.model import Event


def event(subject: str) -> Event:
    return Event(1700000000.5, "process", subject, "running", {"pid": 7})


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_event_is_one_line_at_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    assert [log.append(event("a")), log.append(event("b"))] == [1, 2]
    first, second = rows(log.path)
    assert first == {
        "id": 1,
        "t": 1700000000.5,
        "kind": "process",
        "subject": "a",
        "message": "running",
        "data": {"pid": 7},
    }
    assert second["subject"] == "b"
    log.close()
    log.close()


def test_memory_is_bounded_and_numbers_go_on(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", keep=3)
    for name in "abcde":
        log.append(event(name))
    assert [numbered.id for numbered in log.after(0)] == [3, 4, 5]
    assert [numbered.event.subject for numbered in log.after(4)] == ["e"]
    assert log.after(log.last) == ()
    assert len(rows(log.path)) == 5


def test_a_follower_gets_what_was_and_what_comes(tmp_path: Path) -> None:
    async def follow() -> list[Numbered]:
        log = EventLog(tmp_path / "events.jsonl")
        log.append(event("before"))
        seen: list[Numbered] = []
        async with asyncio.timeout(10):
            async for numbered in log.follow():
                seen.append(numbered)
                if len(seen) == 3:
                    break
                if len(seen) == 1:
                    log.append(event("while reading"))
                else:
                    asyncio.get_running_loop().call_soon(log.append, event("while waiting"))
        return seen

    assert [numbered.event.subject for numbered in asyncio.run(follow())] == [
        "before",
        "while reading",
        "while waiting",
    ]


def test_waiting_ends_with_news_or_without(tmp_path: Path) -> None:
    async def wait() -> tuple[tuple[Numbered, ...], tuple[Numbered, ...]]:
        log = EventLog(tmp_path / "events.jsonl")
        nothing = await log.wait(0, timeout_s=0.01)
        asyncio.get_running_loop().call_soon(log.append, event("news"))
        return nothing, await log.wait(0, timeout_s=10)

    nothing, news = asyncio.run(wait())
    assert nothing == ()
    assert [numbered.event.subject for numbered in news] == ["news"]


def test_a_full_disk_keeps_events_in_memory_and_writing_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    write = os.write

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert log.append(event("lost")) == 1
    assert log.problem is not None
    assert "disk is full" in str(log.problem)
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:5]))
    log.append(event("torn"))
    monkeypatch.setattr(os, "write", write)
    log.append(event("back"))
    assert log.problem is None
    assert json.loads(log.path.read_text(encoding="utf-8").splitlines()[-1])["subject"] == "back"
    assert [numbered.event.subject for numbered in log.after(0)] == ["lost", "torn", "back"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        EventLog(tmp_path / "missing" / "events.jsonl")
