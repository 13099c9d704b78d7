"""What was broken, when, what the declaration said would follow, and what was seen to follow."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import InputError, Problem
from holdfast.local.expect import Expectation, as_json
from holdfast.local.targets import Target

Check = Callable[[], bool]


@dataclass(slots=True)
class Fault:
    """One fault and its milestones. ``measured`` holds seconds after ``t``; a milestone not reached yet is absent."""

    id: str
    operation: str
    target: Target
    t: float
    expected: tuple[Expectation, ...]
    watch: dict[str, Check]
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Every milestone that can be watched was reached."""
        return all(name in self.measured for name in self.watch)

    def as_json(self) -> dict[str, Any]:
        """For the control surface: expected and measured side by side."""
        return {
            "id": self.id,
            "operation": self.operation,
            "target": self.target.id,
            "kind": self.target.kind.value,
            "t": self.t,
            "expected": as_json(self.expected),
            "measured": dict(self.measured),
            "complete": self.complete,
        }


class FaultLog:
    """Faults of this run. :meth:`observe` is called regularly and notes each milestone when it is first true."""

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self._ids: Iterator[int] = itertools.count(1)

    def record(self, operation: str, target: Target, t: float, expected: tuple[Expectation, ...]) -> Fault:
        """Remember a fault that was injected at ``t``."""
        for earlier in self._faults.values():
            if operation == "resume" and earlier.target == target:
                earlier.watch.clear()  # healed: what would follow it now is not its doing
        fault = Fault(f"f{next(self._ids)}", operation, target, t, expected, {})
        self._faults[fault.id] = fault
        return fault

    @property
    def watching(self) -> bool:
        """Some fault has milestones that were not reached yet."""
        return any(not fault.complete for fault in self._faults.values())

    def observe(self, now: float) -> list[tuple[Fault, str]]:
        """Note milestones that are true now; returns the new ones."""
        reached = []
        for fault in self._faults.values():
            for name, check in fault.watch.items():
                if name not in fault.measured and check():
                    fault.measured[name] = round(now - fault.t, 2)
                    reached.append((fault, name))
        return reached

    def get(self, fault_id: str) -> Fault:
        """The fault with this id.

        Raises:
            InputError: there is none.
        """
        if fault_id not in self._faults:
            raise InputError((Problem(f"no fault {fault_id} in this run"),))
        return self._faults[fault_id]
