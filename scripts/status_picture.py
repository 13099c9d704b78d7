"""Draw `holdfast status --json` (standard input) as an SVG file: ``... | python scripts/status_picture.py OUT.svg``."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from holdfast.report.status import render


def main() -> None:
    """Command line."""
    console = Console(record=True, width=92, file=io.StringIO(), force_terminal=True)
    render(json.load(sys.stdin), console)
    svg = console.export_svg(title="holdfast status", theme=MONOKAI)
    # rich names fonts on a content network; a picture in a README must not fetch anything
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    Path(sys.argv[1]).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
