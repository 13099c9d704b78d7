"""Ready probes: is the process answering yet?"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from holdfast.model import ReadyProbe

TRY_S = 1.0
"""Longest one attempt may take."""
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1


async def wait_until_ready(probe: ReadyProbe) -> str | None:
    """``None`` once the answer is good; after ``probe.timeout_s`` what the last attempt said."""
    loop = asyncio.get_running_loop()
    end = loop.time() + probe.timeout_s
    pause_s = FIRST_PAUSE_S
    while (why := await attempt(probe)) is not None and loop.time() < end:
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return None if why is None else f"not ready within {probe.timeout_s:g} s: {why}"


async def attempt(probe: ReadyProbe) -> str | None:
    """Probe once: ``None`` when it is ready, else the reason in words."""
    try:
        async with asyncio.timeout(TRY_S):
            return await _ask(probe)
    except TimeoutError:
        return f"{where(probe)} did not answer within {TRY_S:g} s"
    except OSError as error:
        return f"{where(probe)}: {error.strerror or error}"
    except ValueError:  # a first line without end
        return f"{where(probe)} did not answer in HTTP"


def where(probe: ReadyProbe) -> str:
    """The probed place in words."""
    place = probe.socket or f"{probe.host}:{probe.port}"
    return f"{place}{probe.path}" if probe.path else place


async def _ask(probe: ReadyProbe) -> str | None:
    if probe.socket:
        reader, writer = await asyncio.open_unix_connection(probe.socket)
    else:
        reader, writer = await asyncio.open_connection(probe.host, probe.port)
    try:
        return await _get(reader, writer, probe) if probe.path else None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, probe: ReadyProbe) -> str | None:
    writer.write(f"GET {probe.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    line = (await reader.readline()).decode("latin-1").split(maxsplit=2)
    if len(line) < 2 or not line[0].startswith("HTTP/"):
        return f"{where(probe)} did not answer in HTTP"
    return None if line[1][0] in "23" else f"{where(probe)} answered {' '.join(line[1:]).strip()}"
