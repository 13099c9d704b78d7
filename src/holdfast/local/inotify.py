"""Whether the system has file watches left: each Envoy watches its configuration with some of a user's few."""

from __future__ import annotations

import ctypes
import os
import sys

from holdfast.errors import EnvironmentProblem

PER_ZONE_PROXY = 5
PER_EDGE = 2
"""Measured with Envoy 1.40: one instance for each file subscription. Without them it aborts at boot."""


def require(count: int) -> None:
    """Check that this user may have ``count`` inotify instances more; nothing to check outside of Linux.

    Raises:
        EnvironmentProblem: there are fewer; names the setting.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    taken: list[int] = []
    try:
        while len(taken) < count:
            handle = libc.inotify_init1(os.O_CLOEXEC)
            if handle < 0:
                raise EnvironmentProblem(
                    f"only {len(taken)} of the {count} file watches (inotify instances) that the proxies need are left",
                    hint="stop another system, or: sudo sysctl fs.inotify.max_user_instances=1024",
                )
            taken.append(handle)
    finally:
        for handle in taken:
            os.close(handle)
