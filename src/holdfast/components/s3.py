"""Amazon S3: the bucket that holds the client, one in each region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from holdfast.components.base import Component, Settings, node_id
from holdfast.model import Behaviour, FailureMode, Group, Node, Role


class S3Settings(Settings):
    """The ``[s3]`` table of a manifest."""

    versioning: bool = True
    """Keep replaced and deleted files, so that a bad upload can be taken back."""
    storage_class: Literal["STANDARD", "INTELLIGENT_TIERING"] = "STANDARD"
    """Storage class of uploads. Both keep every file in three zones or more."""
    noncurrent_days: int = Field(default=30, ge=1)
    """Days that a replaced version is kept."""


class S3(Component[S3Settings]):
    """The static client's files."""

    name: ClassVar[str] = "s3"
    role: ClassVar[Role] = Role.BUCKET
    Settings = S3Settings

    def place(self, settings: S3Settings, region: str | None, zones: tuple[str, ...]) -> tuple[Node, ...]:
        """One node without a zone: losing a zone does not take a bucket away."""
        return (Node(node_id(region, self.name), None),)

    def behaviour(self, settings: S3Settings) -> Behaviour:
        """A bucket answers or it does not; nothing in it can be tuned in time."""
        return Behaviour()

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What is left of the client when a bucket or an upload fails."""
        return (
            FailureMode(
                "region lost",
                "region",
                "files that the edge has not cached cannot be read from this region",
                "CloudFront sees no connection or a 5xx, per request",
                "origin failover reads the other region's bucket, which must hold the same files",
            ),
            FailureMode(
                "bad upload",
                "deploy",
                "clients get a broken page as soon as caches refresh",
                "no health check looks at the client's files",
                "restore the previous version"
                if group.settings.versioning
                else "upload the previous files again",
            ),
        )

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """Nothing runs here."""
        return {}
