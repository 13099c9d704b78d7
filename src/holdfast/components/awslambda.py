"""AWS Lambda: execution environments that appear with requests, one request each at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from holdfast import facts
from holdfast.components import compute
from holdfast.components.base import Component, Settings, one_per_zone
from holdfast.components.limits import allowed
from holdfast.model import Behaviour, DeadNode, FailureMode, Group, Node, Role

MEGABYTE = 1024 * 1024


def _account_concurrency() -> int:
    return int(facts.number("awslambda.concurrency"))


class AwsLambdaSettings(Settings):
    """The ``[awslambda]`` table of a manifest."""

    memory_gib: float = Field(default=1.0, gt=0)
    """Memory of one execution environment in GiB; CPU comes in proportion to it."""
    timeout_s: Annotated[int, allowed("awslambda.timeout")] = 29
    """Seconds that one invocation may take. 29 lets API Gateway's own limit decide; AWS's default is 3."""
    reserved_concurrency: int = Field(default_factory=_account_concurrency, ge=1)
    """Execution environments of the function in one region at most; left out, the account's default quota."""
    provisioned: int = Field(default=0, ge=0)
    """Execution environments that AWS keeps ready in one region (provisioned concurrency)."""
    idle_s: float = Field(default=300.0, gt=0)
    """Seconds without a request until an environment goes. Our own figure: AWS publishes none."""

    @property
    def memory_mb(self) -> int:
        """Memory as AWS takes it, in whole MB."""
        return math.ceil(self.memory_gib * 1024)

    @model_validator(mode="after")
    def _memory_fits(self) -> Self:
        fact = facts.get("awslambda.memory_mb")
        if not (fact.minimum or 0) <= self.memory_mb <= (fact.maximum or math.inf):
            raise ValueError(
                f"AWS allows {fact.minimum:g} to {fact.maximum:g} MB for a function (awslambda.memory_mb),"
                f" not {self.memory_mb} (memory_gib = {self.memory_gib:g})"
            )
        return self

    @model_validator(mode="after")
    def _provisioned_fits(self) -> Self:
        if self.provisioned > self.reserved_concurrency:
            raise ValueError(
                f"provisioned ({self.provisioned}) is above reserved_concurrency"
                f" ({self.reserved_concurrency})"
            )
        return self


class AwsLambda(Component[AwsLambdaSettings]):
    """A function in a region."""

    name: ClassVar[str] = "awslambda"
    role: ClassVar[Role] = Role.FUNCTIONS
    Settings = AwsLambdaSettings

    def place(
        self, settings: AwsLambdaSettings, region: str | None, zones: tuple[str, ...]
    ) -> tuple[Node, ...]:
        """One node in each zone: the place where environments appear on demand."""
        return one_per_zone(self.name, zones)

    def behaviour(self, settings: AwsLambdaSettings) -> Behaviour:
        """Load beyond the ready environments pays a cold start; load beyond the concurrency is refused."""
        return Behaviour(
            request_timeout_s=settings.timeout_s,
            idle_timeout_s=settings.idle_s,
            start_s=facts.number("awslambda.cold_start") / 1000,
            grace_s=facts.number("awslambda.init_limit"),
            concurrency=int(facts.number("awslambda.requests_per_environment")),
            fleet_concurrency=settings.reserved_concurrency,
            max_payload_bytes=int(facts.number("awslambda.payload_sync_mb") * MEGABYTE),
            dead_node=DeadNode.DEREGISTERED,
            because=_BECAUSE,
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What clients see when a function is new, too busy, too slow or broken."""
        return (*_capacity(group), *_faults(group))

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """The variables that Lambda reserves and that have a meaning without AWS."""
        return {
            "AWS_REGION": group.region or "",
            "AWS_DEFAULT_REGION": group.region or "",
            "AWS_LAMBDA_FUNCTION_NAME": group.id.replace("/", "-"),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(group.settings.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"
            if group.settings.provisioned
            else "on-demand",
            **compute.place_variables(group, node),
        }


def _capacity(group: Group) -> tuple[FailureMode, ...]:
    behaviour, ready = group.behaviour, group.settings.provisioned
    burst, per_env = facts.number("awslambda.scaling_per_10s"), facts.number("awslambda.rps_per_concurrency")
    limit = behaviour.fleet_concurrency or 0
    return (
        FailureMode(
            "region lost",
            "region",
            "every invocation fails",
            "by the health check of DNS or the CDN",
            f"the other region starts environments, at most {burst:g} every 10 s; the first ones are cold",
        ),
        FailureMode(
            "throttled",
            "region",
            "invocations above the concurrency are refused (429 by Lambda, which API Gateway answers with 500)",
            f"{limit} requests in progress, or {limit * per_env:g} requests/s",
            "clients wait and try again; raise the reserved concurrency or the account's quota",
        ),
        FailureMode(
            "cold start",
            "node",
            f"a request that finds no free environment waits {behaviour.start_s:g} s and for the import",
            f"load above the environments that are ready ({ready} provisioned); one that idles"
            f" {behaviour.idle_timeout_s:g} s goes",
            "the environment is kept for the next requests",
        ),
    )


def _faults(group: Group) -> tuple[FailureMode, ...]:
    init_s = facts.number("awslambda.init_limit")
    return (
        FailureMode(
            "zone lost",
            "zone",
            "requests in progress in the zone fail",
            "by Lambda itself, which gives no figure",
            "new environments start in the other zones",
        ),
        FailureMode(
            "invocation too slow",
            "node",
            "the environment is stopped; the client gets an error",
            f"after {group.behaviour.request_timeout_s:g} s",
            "the next request starts cold",
        ),
        FailureMode(
            "bad deployment",
            "deploy",
            "every new environment fails to start",
            f"an exception at import, or an init phase beyond {init_s:g} s, which is tried once more",
            "point the alias at the previous version",
        ),
    )


_BECAUSE = {
    "request_timeout_s": "setting:awslambda.timeout_s",
    "idle_timeout_s": "setting:awslambda.idle_s",
    "start_s": "fact:awslambda.cold_start",
    "grace_s": "fact:awslambda.init_limit",
    "concurrency": "fact:awslambda.requests_per_environment",
    "fleet_concurrency": "setting:awslambda.reserved_concurrency",
    "max_payload_bytes": "fact:awslambda.payload_sync_mb",
}
