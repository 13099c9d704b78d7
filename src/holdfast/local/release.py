"""A release: the user's program as it was when it was deployed.

On AWS a node that starts later runs the image or bundle that was deployed, not what the developer has since
written. Here a release is a copy of the program's folder; a replacement of a dead node starts from it, and a
rollback is a return to the copy before.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import EnvironmentProblem
from holdfast.model import App

ALWAYS_LEFT_OUT = (
    ".git", ".hg", ".holdfast", ".venv", "venv", "node_modules", "__pycache__", "*.pyc",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox",
)  # fmt: skip
"""Never part of an artifact: version control, environments and caches."""

LIMIT_BYTES = 512 * 1024 * 1024
"""A larger folder is almost surely data or an environment; Elastic Beanstalk's bundle limit has the same size."""


@dataclass(frozen=True, slots=True)
class Release:
    """``number`` counts from 1; ``folder`` holds the copy that nodes start from."""

    number: int
    folder: Path


def make(app: App, number: int, into: Path) -> Release:
    """Copy ``app.root`` to ``into/<number>``, without what ``[service] exclude`` and habit leave out.

    Raises:
        EnvironmentProblem: the folder is larger than :data:`LIMIT_BYTES` or the disk is full.
    """
    target = into / str(number)
    shutil.rmtree(target, ignore_errors=True)
    budget = _Budget(app)
    try:
        shutil.copytree(app.root, target, symlinks=True, ignore=budget.ignore)
    except shutil.Error as error:
        raise EnvironmentProblem(f"cannot copy {app.root}: {error.args[0][0][2]}") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise EnvironmentProblem(
                f"the disk is full: no room for a copy of {app.root} in {into}",
                hint="free some space and try again",
            ) from error
        raise EnvironmentProblem(f"cannot copy {app.root}: {error}") from error
    return Release(number, target)


class _Budget:
    """Decides what is copied and stops before a mistake fills the disk."""

    def __init__(self, app: App) -> None:
        self._root = app.root
        self._patterns = (*ALWAYS_LEFT_OUT, *app.exclude)
        self._bytes = 0

    def ignore(self, folder: str, names: list[str]) -> set[str]:
        relative = Path(folder).relative_to(self._root)
        left_out = {name for name in names if self._excluded(name, str(relative / name))}
        for name in set(names) - left_out:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                self._bytes += os.path.getsize(path)
        if self._bytes > LIMIT_BYTES:
            raise EnvironmentProblem(
                f"{self._root} is larger than {LIMIT_BYTES // 1024 // 1024} MiB",
                hint='leave data out with [service] exclude = ["data", "*.bin"]',
            )
        return left_out

    def _excluded(self, name: str, relative: str) -> bool:
        return any(
            fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(relative, pattern) for pattern in self._patterns
        )
