"""Starting ``holdfast up`` in the background and hearing from it until it is ready."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from holdfast.local import disk

LOG = ".holdfast/up.log"


def launch(argv: Sequence[str], project: Path) -> Iterator[dict[str, Any]]:
    """Start ``argv`` in a session of its own, with ``--ready-fd``; yields each JSON line it says there.

    Ends when the process closes its end: it is ready, or gone. Its output goes to ``.holdfast/up.log``.
    """
    log = project / LOG
    with disk.writing(log):
        log.parent.mkdir(mode=0o700, exist_ok=True)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    reader, writer = os.pipe()
    try:
        subprocess.Popen(
            [*argv, "--ready-fd", str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=(writer,),
            start_new_session=True,
        )
    finally:
        os.close(writer)
        os.close(out)
    with os.fdopen(reader, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
