"""Amazon CloudFront: the edge cache, and the only block that repeats a request in another region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from holdfast import facts
from holdfast.components.base import Component, Settings, node_id
from holdfast.components.limits import allowed, one_of
from holdfast.model import Behaviour, FailureMode, Group, Node, Retry, Role

Selection = tuple[str, ...] | Literal["all", "none"]


class CacheBehavior(Settings):
    """How CloudFront treats the paths that match one pattern (AWS: cache behavior)."""

    path: str = Field(min_length=1)
    """Path pattern such as ``/api/catalogue/*`` with the wildcards ``*`` and ``?``. The first match wins."""
    cache: bool = True
    """Cache answers; false is AWS's managed policy CachingDisabled."""
    min_ttl_s: int = Field(default=0, ge=0)
    """Shortest time in seconds that an answer is kept, even when the origin says less."""
    default_ttl_s: int = Field(default=60, ge=0)
    """Time in seconds that an answer is kept when the origin sends no Cache-Control or Expires."""
    max_ttl_s: int = Field(default=3600, ge=0)
    """Longest time in seconds that an answer is kept, even when the origin says more."""
    query: Selection = "all"
    """Query parameters in the cache key: a list of names, ``all`` or ``none``."""
    headers: tuple[str, ...] = ()
    """Request headers in the cache key."""
    cookies: Selection = "none"
    """Cookies in the cache key: a list of names, ``all`` or ``none``."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_ttl_s <= self.default_ttl_s <= self.max_ttl_s:
            raise ValueError(
                f"CloudFront wants min_ttl_s <= default_ttl_s <= max_ttl_s, not "
                f"{self.min_ttl_s}, {self.default_ttl_s}, {self.max_ttl_s}"
            )
        return self


class CloudFrontSettings(Settings):
    """The ``[cloudfront]`` table of a manifest."""

    connection_attempts: Annotated[int, allowed("cloudfront.connection_attempts")] = 3
    """Times that CloudFront tries to connect to an origin before it gives the origin up."""
    connection_timeout_s: Annotated[int, allowed("cloudfront.connection_timeout")] = 2
    """Seconds for one attempt to connect. AWS's default of 10 makes a dead origin cost 30 s a request."""
    read_timeout_s: Annotated[int, allowed("cloudfront.origin_read_timeout")] = 30
    """Seconds that CloudFront waits for an origin's answer, and between two packets of it."""
    keepalive_s: Annotated[int, allowed("cloudfront.origin_keepalive")] = 5
    """Seconds that an idle connection to an origin is kept."""
    origin_failover: bool = True
    """Repeat a failed read of a cached behavior at the other region's origin (AWS: origin group)."""
    failover_statuses: tuple[Annotated[int, one_of("cloudfront.failover_status_codes")], ...] = (
        500,
        502,
        503,
        504,
    )
    """Answers of the first origin that send the request to the second one."""
    api_paths: tuple[str, ...] = ("/api/*",)
    """Paths that go to the API when there is a client; everything else is served from the bucket."""
    default_root_object: str = "index.html"
    """File of the client that answers ``/``."""
    spa: bool = False
    """Answer unknown client paths with the root object, as a single-page application needs."""
    behaviors: tuple[CacheBehavior, ...] = ()
    """API paths that are cached. API paths that match none are not cached."""
    compress: bool = True
    """Compress answers with gzip or Brotli where the client accepts it."""
    http3: bool = True
    """Offer HTTP/3 to clients."""

    @property
    def origin_group(self) -> bool:
        """Whether any behavior has two origins. AWS refuses them on a behavior that allows writes, so only cached
        ones have; every other path follows DNS when its region is lost."""
        return self.origin_failover and any(behavior.cache for behavior in self.behaviors)

    @model_validator(mode="after")
    def _few_behaviors(self) -> Self:
        limit, wanted = int(facts.number("cloudfront.behaviors")), len(self.behaviors) + len(self.api_paths)
        if wanted > limit:
            raise ValueError(
                f"AWS allows {limit} cache behaviors a distribution (cloudfront.behaviors), not {wanted}"
            )
        return self


class CloudFront(Component[CloudFrontSettings]):
    """The content delivery network in front of everything."""

    name: ClassVar[str] = "cloudfront"
    role: ClassVar[Role] = Role.CDN
    regional: ClassVar[bool] = False
    Settings = CloudFrontSettings

    def place(
        self, settings: CloudFrontSettings, region: str | None, zones: tuple[str, ...]
    ) -> tuple[Node, ...]:
        """One node that stands for all edge locations; they do not fail one by one for a client."""
        return (Node(node_id(None, self.name), None),)

    def behaviour(self, settings: CloudFrontSettings) -> Behaviour:
        """An origin that cannot be connected to costs ``attempts * timeout`` before the next one is asked."""
        return Behaviour(
            request_timeout_s=settings.read_timeout_s,
            connect_timeout_s=settings.connection_timeout_s,
            idle_timeout_s=settings.keepalive_s,
            retry=_retry(settings),
            failover_s=settings.connection_attempts * settings.connection_timeout_s
            if settings.origin_group
            else None,
            max_header_bytes=int(facts.number("cloudfront.request_bytes")),
            because=_BECAUSE,
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What clients see when an origin is gone, slow or wrong."""
        modes = (_origin_lost(group.behaviour), _origin_slow(group.behaviour))
        return modes if group.behaviour.failover_s is None else (*modes, _writes_stay(group.behaviour))

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """Nothing of the user's runs here."""
        return {}


def _retry(settings: CloudFrontSettings) -> Retry:
    if not settings.origin_group:
        return Retry(connect_attempts=settings.connection_attempts)
    methods = tuple(facts.get("cloudfront.failover_methods").value)
    return Retry(settings.connection_attempts, methods, settings.failover_statuses)


def _origin_lost(behaviour: Behaviour) -> FailureMode:
    attempts, timeout_s = behaviour.retry.connect_attempts, behaviour.connect_timeout_s or 0
    elsewhere = (
        f"{', '.join(behaviour.retry.failover_methods)} go to the second origin; other methods get 502 or 504"
    )
    return FailureMode(
        "origin does not connect",
        "region",
        f"each request waits up to {attempts * timeout_s:g} s",
        f"per request: {attempts} attempts of {timeout_s:g} s; CloudFront remembers nothing between requests",
        elsewhere
        if behaviour.failover_s is not None
        else "requests fail with 502 or 504 until DNS names another",
    )


def _origin_slow(behaviour: Behaviour) -> FailureMode:
    return FailureMode(
        "origin hangs",
        "region",
        "requests wait, then fail with 504",
        f"after {behaviour.request_timeout_s:g} s without an answer",
        "reads are tried again or fail over as above; writes return 504 and may have happened",
    )


def _writes_stay(behaviour: Behaviour) -> FailureMode:
    codes = ", ".join(map(str, behaviour.retry.failover_statuses))
    return FailureMode(
        "origin answers with an error",
        "deploy",
        "clients see the error for writes",
        f"status {codes} of the first origin",
        f"{', '.join(behaviour.retry.failover_methods)} go to the second origin at once; writes never do",
    )


_BECAUSE = {
    "request_timeout_s": "setting:cloudfront.read_timeout_s",
    "connect_timeout_s": "setting:cloudfront.connection_timeout_s",
    "idle_timeout_s": "setting:cloudfront.keepalive_s",
    "retry.connect_attempts": "setting:cloudfront.connection_attempts",
    "retry.failover_statuses": "setting:cloudfront.failover_statuses",
    "failover_s": "setting:cloudfront.connection_attempts, setting:cloudfront.connection_timeout_s",
    "max_header_bytes": "fact:cloudfront.request_bytes",
}
