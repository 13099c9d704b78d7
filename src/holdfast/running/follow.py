"""Following what happens in a running system: faults, deployments, the live table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from holdfast.local.client import Client
from holdfast.running.logs import event_line

POLL_S = 0.5
FAULT_PATIENCE_S = 60.0
"""How long a fault is watched beyond its latest expected milestone."""


def watch(client: Client) -> None:
    """Show the live table of a system that runs elsewhere, until Ctrl-C or its end."""
    from holdfast.report.status import Live

    with Live() as live:
        while True:
            live.show(client.get("status"), [])
            time.sleep(POLL_S)


def fault(client: Client, operation: str, target: str, *, wait: bool, quiet: bool) -> dict[str, Any]:
    """Perform an operation; with ``wait`` follow its milestones, expected beside measured."""
    row = client.post(f"actions/{operation}", target=target)
    if not quiet:
        click.echo(f"{operation} {row['kind']} {row['target']}")
    said: set[str] = set()
    patience_s = max((e["upper_s"] or e["lower_s"] for e in row["expected"]), default=0.0) + FAULT_PATIENCE_S
    deadline = time.monotonic() + patience_s
    while wait and not row["complete"] and time.monotonic() < deadline:
        if not quiet:
            _say_milestones(row, said)
        time.sleep(POLL_S)
        row = client.get(f"faults/{row['id']}")
    if not quiet:
        _say_milestones(row, said, final=True)
    return row


def _say_milestones(row: Mapping[str, Any], said: set[str], *, final: bool = False) -> None:
    for expectation in row["expected"]:
        name, measured = expectation["name"], row["measured"].get(expectation["name"])
        if name in said or (measured is None and not final):
            continue
        said.add(name)
        upper = f"{expectation['upper_s']:.1f}" if expectation["upper_s"] is not None else "?"
        seen = f"{measured:6.1f} s" if measured is not None else "not seen"
        click.echo(
            f"  {name:16} measured {seen}   expected {expectation['lower_s']:.1f}..{upper} s   {expectation['because']}"
        )


def reload(client: Client, *, wait: bool, quiet: bool) -> dict[str, Any]:
    """Deploy what is on disk; with ``wait`` until it is done or rolled back."""
    row = client.post("reload")
    after = 0
    while wait and row["outcome"] == "in progress":
        time.sleep(POLL_S)
        row = client.get("deployment")
        news = client.get(f"events?after={after}")
        if not quiet and after:
            for event in news["events"]:
                if event["kind"] != "process":
                    click.echo(event_line(event))
        after = news["last"]
    if not quiet:
        click.echo(f"release {row['release']}: {row['outcome']}")
    return row
