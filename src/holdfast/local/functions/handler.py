"""The Lambda handler that every environment runs: the user's ASGI or WSGI program behind ``mangum``.

Importing this module is the function's initialisation: the program is loaded and its lifespan started here,
once for each environment. As on AWS, nothing tells the program when its environment is shut down:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

from mangum import Mangum
from mangum.protocols import LifespanCycle

from holdfast.local.application import AsgiApp, as_asgi, interface, load


def started(app: AsgiApp) -> AsgiApp:
    """``app`` after its lifespan's startup, with the lifespan's state in every request.

    Raises:
        LifespanFailure: the program's startup failed; Lambda reports it as an initialisation error.
    """
    cycle = LifespanCycle(cast("Any", app), "auto")
    cycle.__enter__()

    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = dict(cycle.lifespan_state)
        await app(scope, receive, send)

    return with_state


def build(target: str) -> Mangum:
    """The handler for the program named ``module:attribute``.

    Raises:
        InputError: there is no such program, or it is neither ASGI nor WSGI.
    """
    asyncio.set_event_loop(asyncio.new_event_loop())
    program = load(target)
    app = as_asgi(program, threads=1)
    # mangum would run the lifespan anew for each request.
    return Mangum(cast("Any", app if interface(program) == "wsgi" else started(app)), lifespan="off")


handler = build(os.environ["HOLDFAST_APP"])
