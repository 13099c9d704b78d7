"""How long the default system takes to be ready, what memory it needs, and how fast the light commands are.

``python -m bench.start_up [--rounds 3] [--json]`` runs the example with ``holdfast up --detach --json`` on free ports.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parent.parent / "examples" / "orders"
PORTS = ("--http-port", "0", "--https-port", "0", "--dns-port", "0")


def holdfast(*arguments: str, cwd: Path) -> str:
    """Run one command; what it prints."""
    command = [sys.executable, "-m", "holdfast", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


def system(rounds: int) -> dict[str, float]:
    """Medians of ``ready_s`` and ``memory_mb``, and of the seconds until ``down`` has left nothing behind."""
    runs, stops = [], []
    with tempfile.TemporaryDirectory() as name:
        project = Path(name) / "orders"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns(".holdfast"))
        for _ in range(rounds):
            runs.append(json.loads(holdfast("up", "--detach", "--json", *PORTS, cwd=project)))
            began = time.monotonic()
            holdfast("down", cwd=project)
            stops.append(time.monotonic() - began)
    return {
        "ready_s": statistics.median(run["ready_s"] for run in runs),
        "memory_mb": statistics.median(run["memory_mb"] for run in runs),
        "down_s": round(statistics.median(stops), 2),
    }


def light(rounds: int) -> dict[str, float]:
    """Median wall time of commands that start nothing, in milliseconds, beside an empty interpreter."""

    def median_ms(*command: str) -> float:
        times = []
        for _ in range(max(5, rounds)):
            began = time.monotonic()
            subprocess.run(command, cwd=EXAMPLE, capture_output=True, check=True)
            times.append((time.monotonic() - began) * 1000)
        return round(statistics.median(times))

    python = (sys.executable, "-m", "holdfast")
    return {
        "python -c pass": median_ms(sys.executable, "-c", "pass"),
        "holdfast --help": median_ms(*python, "--help"),
        "holdfast check": median_ms(*python, "check"),
    }


def measure(rounds: int) -> dict[str, Any]:
    """Both tables."""
    return {"system": system(rounds), "light": light(rounds)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.rounds)
    if args.json:
        print(json.dumps(found))
        return
    for table in found.values():
        for name, value in table.items():
            print(f"{name:20} {value:8}")


if __name__ == "__main__":
    main()
