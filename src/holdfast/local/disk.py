"""Writing files so that a full or closed disk becomes an error that says what to do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.errors import EnvironmentProblem

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def problem(error: OSError, path: Path) -> EnvironmentProblem:
    """The error for people behind an ``OSError`` that came up while writing ``path``."""
    if error.errno in FULL:
        return EnvironmentProblem(
            f"the disk is full: cannot write {path} ({_free(path)} free)",
            hint="make room on that disk and try again; the logs of earlier runs are in .holdfast/run",
        )
    if error.errno in CLOSED:
        return EnvironmentProblem(
            f"may not write {path}: {error.strerror}", hint="the folder must belong to you and be writable"
        )
    return EnvironmentProblem(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn every ``OSError`` of the block into the :func:`problem` of ``path``.

    Raises:
        EnvironmentProblem: instead of the ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise problem(error, path) from error


def write_atomic(path: Path, text: str) -> None:
    """Replace a file so that a reader sees the old text or the new one, never half of it.

    Raises:
        EnvironmentProblem: it cannot be written; the old file stays.
    """
    beside = path.with_name(f".{path.name}.new")
    with writing(path):
        try:
            beside.write_text(text, encoding="utf-8")
            os.replace(beside, path)
        except OSError:
            with suppress(OSError):
                beside.unlink()
            raise


def _free(path: Path) -> str:
    for folder in path.parents:
        with suppress(OSError):
            return f"{shutil.disk_usage(folder).free / 2**20:.1f} MiB"
    return "unknown space"
