"""Finding the system that is meant: by project, or the only one that runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from holdfast import manifest
from holdfast.errors import EnvironmentProblem, InputError
from holdfast.local import rundir
from holdfast.local.client import Client


def project_of(directory: Path | None) -> Path:
    """The folder of the project meant: given, above this folder, or that of the only system that runs."""
    try:
        return manifest.find(directory or Path()).parent
    except InputError:
        systems = rundir.running()
        if directory is None and len(systems) == 1:
            return Path(systems[0].project)
        raise


def connect(directory: Path | None) -> Client:
    """A client of the running system.

    Raises:
        EnvironmentProblem: none runs for this project.
    """
    project = project_of(directory)
    info = rundir.read(project)
    if info is None or not info.socket("control").exists():
        raise EnvironmentProblem(f"no system runs for {project}", hint="`holdfast up` starts it")
    token = info.socket("token").read_text(encoding="utf-8")
    return Client(str(info.socket("control")), token)


def down(directory: Path | None) -> dict[str, Any]:
    """Stop the running system, or clean up after one that was killed."""
    project = project_of(directory)
    info = rundir.read(project)
    if info is None:
        leftovers = rundir.clean_stale(project)
        message = f"cleaned up {len(leftovers)} processes of a dead run" if leftovers else "nothing runs"
        return {"stopped": False, "cleaned": len(leftovers), "message": message}
    connect(project).post("down")
    deadline = time.monotonic() + 60.0
    while rundir.is_running(project):
        if time.monotonic() > deadline:
            raise EnvironmentProblem(
                f"pid {info.pid} does not end", hint=f"kill -9 {info.pid}; `holdfast down` cleans up"
            )
        time.sleep(0.05)
    return {"stopped": True, "cleaned": 0, "message": "stopped; nothing is left running"}
