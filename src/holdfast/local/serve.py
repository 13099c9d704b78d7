"""What a worker process runs: ``python -m holdfast.local.serve --app module:attribute --host H --port N``.

The application is imported from the working directory and served by uvicorn until SIGTERM: then the port
closes, requests under way finish within ``--graceful-s`` seconds, and the process ends with 0. A program that
does not come up ends with 3: one line says why, or the traceback of the user's own module.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import uvicorn

from holdfast.errors import HoldfastError
from holdfast.local.application import AsgiApp, as_asgi, interface, load

__all__ = ["Options", "as_asgi", "config", "interface", "load", "main"]

NOT_UP = 3
INTERRUPTED = 130
BALANCERS = "127.0.0.0/8"
"""Every caller on this machine is a balancer, so its X-Forwarded-For and X-Forwarded-Proto are believed."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve. ``keep_alive_s`` must exceed the balancer's idle timeout: else it reuses closed connections."""

    app: str
    host: str
    port: int
    graceful_s: float = 30.0
    keep_alive_s: float = 75.0
    threads: int = 10


def config(app: AsgiApp, options: Options) -> uvicorn.Config:
    """The uvicorn configuration of one worker. Its integer timeouts are rounded up."""
    return uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        interface="asgi3",
        http="httptools",
        access_log=False,
        use_colors=False,
        forwarded_allow_ips=BALANCERS,
        timeout_keep_alive=math.ceil(options.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(options.graceful_s),
    )


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop. Returns the exit code: 0 stopped, 3 did not come up, 130 interrupted."""
    options = _options(argv)
    # uvicorn raises the signal again once it has stopped; an orderly stop must not look like a crash.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(INTERRUPTED))
    sys.path.insert(0, os.getcwd())
    app = _application(options)
    if app is None:
        return NOT_UP
    server = uvicorn.Server(config(app, options))
    server.run()
    return 0 if server.started else NOT_UP


def _application(options: Options) -> AsgiApp | None:
    """The application, or ``None`` once stderr says why there is none."""
    try:
        return as_asgi(load(options.app), threads=options.threads)
    except HoldfastError as error:
        print(f"holdfast: cannot serve {options.app}: {error}", file=sys.stderr)
    except Exception as error:
        traceback.print_exception(error.with_traceback(_users_part(error.__traceback__)))
    return None


def _users_part(frames: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame of the user's code on."""
    ours = (str(Path(__file__).parent), str(Path(importlib.__file__).parent), "<frozen importlib")
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(ours):
        frames = frames.tb_next
    return frames


def _options(argv: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m holdfast.local.serve", description="Serve one replica.")
    parser.add_argument("--app", required=True, metavar="MODULE:ATTRIBUTE")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument(
        "--graceful-s", type=float, default=30.0, help="seconds to finish requests after SIGTERM"
    )
    parser.add_argument(
        "--keep-alive-s", type=float, default=75.0, help="seconds an idle connection stays open"
    )
    parser.add_argument("--threads", type=int, default=10, help="requests a WSGI application answers at once")
    return Options(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
