"""What the edge is, and what of it changes while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.components.cloudfront import CacheBehavior, CloudFrontSettings
from holdfast.components.edgefunction import EdgeFunctionSettings
from holdfast.local.envoy.routes import Fault
from holdfast.model import Group, Retry


@dataclass(frozen=True, slots=True)
class Origin:
    """One region's entry as CloudFront sees it: a name that resolves to the region's load balancer nodes.

    Priority 0 is the primary of an origin group, the next one its secondary.
    """

    region: str
    hostname: str
    port: int
    priority: int


@dataclass(frozen=True, slots=True)
class Edge:
    """The stand-in of one CloudFront distribution.

    ``api_hostname`` is the Route 53 record that API behaviours have as their origin; ``dns`` is the only name
    server that is asked (UDP). ``bucket_dir`` is the client's folder, ``None`` without a client. ``folder`` is
    the working directory of both processes; relative paths are relative to it, which keeps Unix socket paths
    under the kernel's 108 bytes. ``websockets``: the origin speaks them, which a REST API does not.
    """

    host: str
    http_port: int
    https_port: int
    admin_socket: str
    access_log: str
    cdn: Group
    edge_function: Group | None
    bucket_dir: str | None
    api_hostname: str
    origins: tuple[Origin, ...]
    dns: tuple[str, int]
    certificate: str
    key: str
    folder: str
    websockets: bool = True

    @property
    def settings(self) -> CloudFrontSettings:
        """The ``[cloudfront]`` table."""
        settings: CloudFrontSettings = self.cdn.settings
        return settings

    @property
    def function(self) -> EdgeFunctionSettings | None:
        """The ``[edgefunction]`` table, where the chain has an edge function."""
        settings: EdgeFunctionSettings | None = self.edge_function.settings if self.edge_function else None
        return settings

    @property
    def retry(self) -> Retry:
        """What CloudFront tries again."""
        return self.cdn.behaviour.retry

    @property
    def secondary(self) -> Origin | None:
        """The second member of the origin group; ``None`` without failover or with one region."""
        ranked = sorted(self.origins, key=lambda origin: origin.priority)
        return ranked[1] if self.retry.failover_methods and len(ranked) > 1 else None

    @property
    def cached(self) -> tuple[CacheBehavior, ...]:
        """The API behaviours that cache, in their order."""
        return tuple(behaviour for behaviour in self.settings.behaviors if behaviour.cache)


@dataclass(frozen=True, slots=True)
class State:
    """What operations change in a running edge.

    ``generation`` is part of every cache key, so that a new one is an invalidation of ``/*``. ``fault`` strikes
    requests from the edge to the API. ``cut_regions`` cannot be reached from the edge; ``answering`` is the
    region that ``api_hostname`` resolves to, and must be kept current while a cut is in force. A cut that
    ``refuses`` answers at once, else connecting times out.
    """

    generation: int = 0
    fault: Fault | None = None
    cut_regions: frozenset[str] = field(default_factory=frozenset)
    answering: str | None = None
    refuses: bool = False
