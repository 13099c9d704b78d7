"""What all tests share: golden files, and waiting for something to become true."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
POLL_S = 0.02


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew instead of comparing"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)``: text must be what ``tests/golden/<name>`` holds."""
    update = request.config.getoption("--update-golden")

    def compare(name: str, text: str) -> None:
        kept = GOLDEN / name
        if update:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(text, encoding="utf-8")
        assert kept.exists(), f"tests/golden/{name} is missing: run ./dev golden"
        assert text == kept.read_text(encoding="utf-8"), (
            f"tests/golden/{name} differs: if right, ./dev golden"
        )

    return compare


@pytest.fixture
def eventually() -> Callable[..., None]:
    """``eventually(condition, within_s)``: poll until it holds, fail when the time is up."""

    def wait(condition: Callable[[], object], within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"did not become true within {within_s} s"
            time.sleep(POLL_S)

    return wait
