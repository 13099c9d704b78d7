"""The component contract: what is true about one AWS block, and nothing else.

A component is stateless. It never imports another component and never does anything; engines ask it and act.
Its figures live in ``<name>.toml`` (facts) and in its ``Settings`` (what the user may set); ``behaviour``
turns both into the numbers that every engine shares.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from holdfast.model import Behaviour, FailureMode, Group, Node, Role


class Settings(BaseModel):
    """Base of every component's settings: frozen, unknown keys refused, every field documented.

    A field whose name appears in :class:`Declared` is filled from the rest of the manifest
    (``[service]``, ``[compute]``) unless the component's own table sets it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, defer_build=True)


class Declared(BaseModel):
    """What the manifest says outside of a component's own table and several components want to know."""

    model_config = ConfigDict(frozen=True)

    health_path: str
    drain_s: float
    replicas_min: int
    replicas_max: int
    vcpu: float
    memory_gib: float
    spot: float
    scale_cpu_pct: float | None
    scale_rps: float | None
    launch: str | None
    routing: str
    weights: dict[str, int]
    domain: str
    has_client: bool


S = TypeVar("S", bound=Settings)


class Component(ABC, Generic[S]):
    """One AWS block. Subclasses set the class variables and implement every method; none is optional."""

    name: ClassVar[str]
    """Registry name, manifest table and facts file; AWS's own word as moto spells it."""
    role: ClassVar[Role]
    regional: ClassVar[bool] = True
    """False for a global block (Route 53, CloudFront), which is placed once, outside of every region."""
    Settings: type[S]

    @abstractmethod
    def place(self, settings: S, region: str | None, zones: tuple[str, ...]) -> tuple[Node, ...]:
        """The nodes of one group. ``zones`` are zone names such as ``eu-west-1a``, empty for a global block."""

    @abstractmethod
    def behaviour(self, settings: S) -> Behaviour:
        """How the block acts in time; each number in it has an entry in ``because``."""

    @abstractmethod
    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """The ways this block fails, worst first."""

    @abstractmethod
    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """Environment variables by which the platform tells a program where it runs; empty for non-compute."""


def node_id(zone_or_region: str | None, name: str, ordinal: int | None = None) -> str:
    """``eu-west-1a/ecs-1``, ``eu-west-1a/alb``, ``global/cloudfront``: the place first, then the name."""
    return f"{zone_or_region or 'global'}/{name}" + (f"-{ordinal}" if ordinal is not None else "")


def one_per_zone(name: str, zones: tuple[str, ...]) -> tuple[Node, ...]:
    """A block with one node in each zone, as a load balancer has."""
    return tuple(Node(node_id(zone, name), zone) for zone in zones)


def spread(name: str, count: int, zones: tuple[str, ...], *, spot: float = 0.0) -> tuple[Node, ...]:
    """``count`` nodes round-robin over ``zones``; the last ``round(count * spot)`` of them are spot nodes."""
    on_demand = count - round(count * spot)
    return tuple(
        Node(node_id(zones[i % len(zones)], name, i + 1), zones[i % len(zones)], spot=i >= on_demand)
        for i in range(count)
    )
