"""The check for file watches before anything starts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.errors import EnvironmentProblem
from holdfast.local import inotify

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


def test_a_few_are_there_and_are_given_back() -> None:
    for _ in range(50):
        inotify.require(3)


def test_more_than_the_limit_names_the_setting() -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        inotify.require(int(LIMIT.read_text()) + 1)
    assert "fs.inotify.max_user_instances" in (caught.value.hint or "")
    inotify.require(1)
