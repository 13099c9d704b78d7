"""Every error Holdfast raises on purpose.

::

    HoldfastError            exit 3  the environment or Holdfast itself could not do it
    ├── InputError           exit 2  what the user wrote is wrong; carries every Problem at once
    ├── AnswerNo             exit 1  the question was understood and the answer is "no"
    └── EnvironmentProblem   exit 3  a port, a disk, a program or a running system is in the way

Each says where, what is wrong, and what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass


class HoldfastError(Exception):
    """Root of the tree. ``hint`` is the next step for the reader; ``exit_code`` is what the CLI exits with."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file a person wrote.

    ``line`` counts from 1; ``None`` where the place is the whole file. ``key`` is the dotted TOML key.
    """

    message: str
    file: str | None = None
    line: int | None = None
    key: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        head = " ".join(part for part in (f"{place}:" if place else "", self.key and f"[{self.key}]") if part)
        text = f"{head} {self.message}".strip()
        return f"{text} ({self.hint})" if self.hint else text


class InputError(HoldfastError):
    """The user's input is wrong. ``problems`` holds all of them, in file order."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...], *, hint: str | None = None) -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = problems


class AnswerNo(HoldfastError):
    """The command worked and its answer is "no": a rollback, a failed check."""

    exit_code = 1


class EnvironmentProblem(HoldfastError):
    """Something outside the user's input is in the way: a taken port, a full disk, no running system."""

    exit_code = 3
