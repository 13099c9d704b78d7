"""CloudFront Functions: small rules at the edge, declared instead of written in JavaScript."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from holdfast import facts
from holdfast.components.base import Component, Settings, node_id
from holdfast.model import Behaviour, FailureMode, Group, Node, Role

SAFE_HEADERS = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "strict-origin-when-cross-origin",
}


class Redirect(Settings):
    """One path that answers with a redirect at the edge."""

    model_config = ConfigDict(populate_by_name=True)

    source: str = Field(alias="from", pattern="^/")
    """Path that clients ask for, exactly; written ``from`` in the manifest."""
    target: str = Field(alias="to", min_length=1)
    """Path or URL that clients are sent to; written ``to`` in the manifest."""
    status: Literal[301, 302, 303, 307, 308] = 301
    """Status of the redirect."""


class EdgeFunctionSettings(Settings):
    """The ``[edgefunction]`` table of a manifest."""

    response_headers: dict[str, str] = SAFE_HEADERS
    """Headers added to every answer; setting this replaces the default set."""
    redirects: tuple[Redirect, ...] = ()
    """Redirects that the edge answers itself."""
    index_rewrite: bool = False
    """Ask the bucket for ``/docs/index.html`` when the client asks for ``/docs/``."""


class EdgeFunction(Component[EdgeFunctionSettings]):
    """Viewer-request and viewer-response rules of the distribution."""

    name: ClassVar[str] = "edgefunction"
    role: ClassVar[Role] = Role.EDGE_FUNCTION
    regional: ClassVar[bool] = False
    Settings = EdgeFunctionSettings

    def place(
        self, settings: EdgeFunctionSettings, region: str | None, zones: tuple[str, ...]
    ) -> tuple[Node, ...]:
        """One node: the rules run wherever CloudFront does."""
        return (Node(node_id(None, self.name), None),)

    def behaviour(self, settings: EdgeFunctionSettings) -> Behaviour:
        """A function that runs too long is stopped by CloudFront; it has no other timing."""
        return Behaviour(
            request_timeout_s=facts.number("edgefunction.duration_ms") / 1000,
            because={"request_timeout_s": "fact:edgefunction.duration_ms"},
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """A wrong rule reaches every client at once."""
        return (
            FailureMode(
                "function fails",
                "deploy",
                "CloudFront answers 503 on every path that the function is attached to",
                f"at once: an exception, or more than {(group.behaviour.request_timeout_s or 0) * 1000:g} ms",
                "publish the previous version; no region failover helps, the edge is shared",
            ),
        )

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """A function sees no environment."""
        return {}
