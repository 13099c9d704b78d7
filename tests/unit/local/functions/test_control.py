"""Lines of the control socket as the scheduler's messages."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.local.functions.control import to_message
from holdfast.local.functions.messages import Exited, Limits, Message, Probe, Shift, ZoneChanged


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"environment": "f-1", "state": "exited", "reason": "exit 1"}, Exited(7.0, "f-1", "exit 1")),
        ({"environment": "f-1", "zone": "a", "state": "exited"}, Exited(7.0, "f-1", "")),
        ({"zone": "a", "state": "lost"}, ZoneChanged(7.0, "a", True)),
        ({"zone": "a", "state": "back"}, ZoneChanged(7.0, "a", False)),
        ({"version": 2}, Shift(7.0, 2)),
        ({"probe": 2}, Probe(7.0, 2)),
        ({"limits": {"concurrency": 5}}, Limits(7.0, 5, None)),
        ({"limits": {"provisioned": 0}}, Limits(7.0, None, 0)),
    ],
)
def test_orders(line: dict[str, Any], message: Message) -> None:
    assert to_message(line, 7.0) == message


@pytest.mark.parametrize(
    "line",
    [
        {},
        [],
        None,
        {"environment": "f-1", "state": "running"},
        {"version": "2"},
        {"version": True},
        {"limits": {"concurrency": "many"}},
        {"limits": {"provisioned": True}},
        {"limits": [1]},
    ],
)
def test_anything_else_is_refused(line: Any) -> None:
    with pytest.raises(ValueError, match="not a"):
        to_message(line, 7.0)
