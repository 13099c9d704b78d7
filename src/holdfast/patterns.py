"""The six reference architectures. All come from one base, so ``compute.pattern`` is the only difference.

They serve ``compare``, the golden tests and anybody who wants to see what a pattern means first.
"""

from __future__ import annotations

from holdfast.manifest import PLATFORMS, Compute, Manifest, Service

NAMES: tuple[str, ...] = tuple(PLATFORMS)
"""``ec2``, ``ecs-ec2``, ``fargate``, ``eks``, ``beanstalk``, ``lambda``."""

BASE = Manifest(service=Service(name="reference", app="app:app"))
"""A service with everything at its default: two regions of three zones behind CDN, gateway and balancer."""


def pattern(name: str, base: Manifest = BASE) -> Manifest:
    """``base`` on the compute platform ``name``, which is one of :data:`NAMES`.

    Raises:
        pydantic.ValidationError: there is no such pattern.
    """
    compute = Compute.model_validate({**_given(base.compute), "pattern": name})
    return base.model_copy(update={"compute": compute})


def every(base: Manifest = BASE) -> dict[str, Manifest]:
    """``base`` on each of the platforms, by pattern name."""
    return {name: pattern(name, base) for name in NAMES}


def _given(compute: Compute) -> dict[str, object]:
    """The fields somebody set, so that a note about a key without effect stays about what somebody wrote."""
    return {key: getattr(compute, key) for key in compute.model_fields_set}
