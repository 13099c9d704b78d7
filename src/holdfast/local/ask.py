"""One question to a program over HTTP, answered in words; for error messages."""

from __future__ import annotations

import aiohttp

PATIENCE_S = 2.0


async def ask(address: str, path: str) -> str:
    """What ``GET`` of ``path`` at ``host:port`` comes to: ``answers 404``, or why there is no answer."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{address}{path}") as answer,
        ):
            return f"answers {answer.status}"
    except TimeoutError:
        return f"has no answer within {PATIENCE_S:g} s"
    except aiohttp.ClientError as error:
        return f"fails: {error}"
