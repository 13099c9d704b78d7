"""All benchmarks, and their table in ``docs/benchmarks.md``: ``./dev bench``, or ``python -m bench [--rounds 3]``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import data_path, start_up, zone_filters

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
INTRO = """# Benchmarks

Made by `./dev bench` on {day}, {cores} cores ({machine}, Python {python}); every ratio compares variants that take
turns in one run on one machine. Absolute figures are worth little elsewhere; the ratios carry over.

## The data path

One fixed JSON answer of 100 bytes, 32 keep-alive connections, HTTP/1.1, no TLS. All proxies of a row share one core.
*CPU share* is how much of a bare Envoy's efficiency is left (its CPU a request divided by the row's), *speed share*
the same of its requests/s. Both should stay above 0.8 for the gateway and above 0.5 for the whole way.

{data_path}

## What each thing a zone's proxy does costs

A bare Envoy that only passes requests on is 1.00; above it is dearer. Each row adds one thing to the bare one; the
last rows are the product with all of it, and with filters that it leaves out of the way until a drill needs them.

{filters}

## Start, memory, light commands

The example with FastAPI in two regions with three zones each: one edge, six zone proxies, six replicas, DNS. Memory
is that of all processes, shared pages divided among them.

{start_up}
"""


def table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """A Markdown table; everything but the first column is right-aligned."""
    lines = [" | ".join(head), " | ".join(["---", *["---:"] * (len(head) - 1)])]
    lines += [" | ".join("" if cell is None else str(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def page(rounds: int, seconds: float) -> str:
    """Run everything; the page."""
    way = data_path.measure(rounds, seconds)
    filters = zone_filters.run(rounds, seconds)
    started = start_up.measure(rounds)
    return INTRO.format(
        day=datetime.now(UTC).date(),
        cores=os.cpu_count(),
        machine=platform.machine(),
        python=platform.python_version(),
        data_path=table(
            ("way", "CPU us a request", "CPU share", "requests/s", "speed share"),
            [(r["variant"], r["cpu_us"] or None, r["cpu_share"], r["rps"], r["rps_share"]) for r in way],
        ),
        filters=table(
            ("variant", "CPU us a request", "ratio", "requests/s", "ratio "),
            [(r["variant"], r["cpu_us"], r["cpu_ratio"], r["rps"], r["rps_ratio"]) for r in filters],
        ),
        start_up=table(("what", "value"), _start_rows(started)),
    )


def _start_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    system, light = found["system"], found["light"]
    return [
        ("ready after", f"{system['ready_s']:.1f} s"),
        ("memory", f"{system['memory_mb']:.0f} MB"),
        ("`holdfast down`", f"{system['down_s']:.1f} s"),
        *((f"`{name}`", f"{value:.0f} ms") for name, value in light.items()),
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()
    text = page(args.rounds, args.seconds)
    PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
