"""From a manifest's tables to a component's settings: the only place that knows which fills which."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from holdfast.components import component
from holdfast.components.base import Declared, Settings
from holdfast.manifest.complaints import Path
from holdfast.manifest.schema import Manifest


@dataclass(frozen=True, slots=True)
class Platform:
    """What a ``compute.pattern`` means: a component, and how it launches replicas where it has a choice."""

    component: str
    launch: str | None = None


PLATFORMS: Mapping[str, Platform] = MappingProxyType(
    {
        "ec2": Platform("ec2"),
        "ecs-ec2": Platform("ecs", "ec2"),
        "fargate": Platform("ecs", "fargate"),
        "eks": Platform("eks"),
        "beanstalk": Platform("elasticbeanstalk"),
        "lambda": Platform("awslambda"),
    }
)

ORIGIN: Mapping[str, Path] = MappingProxyType(
    {
        "health_path": ("service", "health"),
        "drain_s": ("service", "drain_s"),
        "replicas_min": ("compute", "replicas", "min"),
        "replicas_max": ("compute", "replicas", "max"),
        "vcpu": ("compute", "vcpu"),
        "memory_gib": ("compute", "memory_gib"),
        "spot": ("compute", "spot"),
        "scale_cpu_pct": ("compute", "scale", "cpu"),
        "scale_rps": ("compute", "scale", "rps"),
        "launch": ("compute", "pattern"),
        "routing": ("regions", "routing"),
        "weights": ("regions", "weights"),
        "domain": ("regions", "domain"),
        "has_client": ("service", "client"),
    }
)
"""Where a user sets each field of :class:`Declared`."""


def platform(manifest: Manifest) -> Platform:
    """The component that runs the program."""
    return PLATFORMS[manifest.compute.pattern]


def domain(manifest: Manifest) -> str:
    """The name clients use. ``.test`` is reserved for such use (RFC 6761) and never resolves outside."""
    return manifest.regions.domain or f"{manifest.service.name}.test"


def weights(manifest: Manifest) -> dict[str, int]:
    """Every region's weight; all equal where the manifest names none, zero for a region it leaves out."""
    given = manifest.regions.weights
    return {name: given.get(name, 0) if given else 1 for name in manifest.regions.names}


def declared(manifest: Manifest) -> Declared:
    """What components may take from the rest of the manifest."""
    service, compute = manifest.service, manifest.compute
    return Declared(
        health_path=service.health,
        drain_s=service.drain_s,
        replicas_min=compute.replicas.min,
        replicas_max=compute.replicas.max,
        vcpu=compute.vcpu,
        memory_gib=compute.memory_gib,
        spot=compute.spot,
        scale_cpu_pct=compute.scale.cpu,
        scale_rps=compute.scale.rps,
        launch=platform(manifest).launch,
        routing=manifest.regions.routing,
        weights=weights(manifest),
        domain=domain(manifest),
        has_client=service.client is not None,
    )


def settings(manifest: Manifest, name: str) -> Settings:
    """The settings of component ``name``: its own table over what it takes from the rest of the manifest.

    Raises:
        pydantic.ValidationError: they do not fit; ``load`` has ruled that out for a manifest it returned.
    """
    kind: type[Settings] = component(name).Settings
    taken = declared(manifest).model_dump(include=set(kind.model_fields) & set(ORIGIN))
    return kind.model_validate_json(as_json(taken | manifest.blocks.get(name, {})), strict=True)


def as_json(data: Mapping[str, Any]) -> str:
    """``data`` for pydantic's JSON mode, where strict takes a list for a tuple, a word for an enum."""
    return json.dumps(data, default=str)
