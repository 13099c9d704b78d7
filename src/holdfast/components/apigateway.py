"""Amazon API Gateway (REST API): throttles, limits and times out in front of the service, in every zone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from holdfast import facts
from holdfast.components.base import Component, Settings, one_per_zone
from holdfast.components.limits import allowed
from holdfast.model import Behaviour, FailureMode, Group, Node, RateLimit, Role

MEGABYTE = 1024 * 1024


def _account_rate() -> float:
    return facts.number("apigateway.account_throttle_rps")


def _account_burst() -> int:
    return int(facts.number("apigateway.account_throttle_burst"))


class Throttle(Settings):
    """A token bucket for the whole stage, in each region."""

    rate: float = Field(default_factory=_account_rate, gt=0)
    """Requests per second that are let through on average; more are answered with 429."""
    burst: int = Field(default_factory=_account_burst, ge=1)
    """Requests that may come at once before the rate applies."""


class ApiGatewaySettings(Settings):
    """The ``[apigateway]`` table of a manifest."""

    throttle: Throttle = Field(default_factory=Throttle)
    """Limit of the stage; left out, the default quota of an AWS account and region applies."""
    timeout_s: Annotated[float, allowed("apigateway.rest_integration_timeout")] = 29.0
    """Seconds that API Gateway waits for the service before it answers 504."""
    stage: str = Field(default="live", pattern=r"^[A-Za-z0-9_-]{1,128}$")
    """Name of the stage: letters, digits, hyphen and underscore."""


class ApiGateway(Component[ApiGatewaySettings]):
    """The API's front door in a region."""

    name: ClassVar[str] = "apigateway"
    role: ClassVar[Role] = Role.GATEWAY
    Settings = ApiGatewaySettings

    def place(
        self, settings: ApiGatewaySettings, region: str | None, zones: tuple[str, ...]
    ) -> tuple[Node, ...]:
        """One node in each zone. AWS runs the service in several zones and lets nobody choose them."""
        return one_per_zone(self.name, zones)

    def behaviour(self, settings: ApiGatewaySettings) -> Behaviour:
        """Limits of a REST API."""
        return Behaviour(
            request_timeout_s=settings.timeout_s,
            idle_timeout_s=facts.number("apigateway.rest_idle_connection"),
            max_payload_bytes=int(facts.number("apigateway.payload_mb") * MEGABYTE),
            max_header_bytes=int(facts.number("apigateway.rest_header_bytes")),
            rate_limit=RateLimit(settings.throttle.rate, settings.throttle.burst),
            because=_BECAUSE,
        )

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What clients see when they send too much, or the service is too slow or gone."""
        behaviour, limit = group.behaviour, group.behaviour.rate_limit
        assert limit is not None
        return (
            FailureMode(
                "throttled",
                "region",
                "requests above the limit are answered with 429 at once",
                f"{limit.rate:g} requests/s and {limit.burst} at once in a region, all zones together",
                "clients wait and try again; a region that takes over another's traffic needs room for both",
            ),
            FailureMode(
                "service too slow",
                "node",
                "504, although the service may still finish the request",
                f"after {behaviour.request_timeout_s:g} s",
                "make the operation safe to repeat, or answer 202 and work later",
            ),
            FailureMode(
                "payload too large",
                "node",
                "413 before the service sees the request",
                f"body above {(behaviour.max_payload_bytes or 0) // MEGABYTE} MB",
                "upload large bodies to a bucket through a presigned URL",
            ),
            FailureMode(
                "region lost",
                "region",
                "every request to this region fails",
                "by the health check of whoever sends requests here; API Gateway itself has none",
                "DNS or the CDN sends requests to another region",
            ),
        )

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """Nothing of the user's runs here."""
        return {}


_BECAUSE = {
    "request_timeout_s": "setting:apigateway.timeout_s",
    "idle_timeout_s": "fact:apigateway.rest_idle_connection",
    "max_payload_bytes": "fact:apigateway.payload_mb",
    "max_header_bytes": "fact:apigateway.rest_header_bytes",
    "rate_limit.rate": "setting:apigateway.throttle.rate",
    "rate_limit.burst": "setting:apigateway.throttle.burst",
}
