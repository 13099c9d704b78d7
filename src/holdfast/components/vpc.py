"""Amazon VPC: the private network of a region. It has no timing of its own, but zones and a way out."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from holdfast import facts
from holdfast.components.base import Component, Settings, one_per_zone
from holdfast.model import Behaviour, FailureMode, Group, Node, Role


def _cidr(value: str) -> str:
    # ipaddress speaks of "host bits"; the reader wants the block that was probably meant.
    network = ipaddress.IPv4Network(value, strict=False)
    if str(network) != value:
        raise ValueError(f"{value} is not a network address, {network} is")
    size = facts.get("vpc.cidr_prefix")
    if not (size.minimum or 0) <= network.prefixlen <= (size.maximum or 32):
        raise ValueError(
            f"AWS allows /{size.minimum:g} to /{size.maximum:g} for a VPC, not /{network.prefixlen}"
        )
    return value


class VpcSettings(Settings):
    """The ``[vpc]`` table of a manifest."""

    cidr: Annotated[str, AfterValidator(_cidr)] = "10.0.0.0/16"
    """IPv4 block of the VPC, the same in each region unless regions are peered."""
    nat: Literal["regional", "zonal", "none"] = "zonal"
    """Way out to the internet: a NAT gateway in each zone, one regional NAT gateway, or none."""


class Vpc(Component[VpcSettings]):
    """Subnets, routes and the way out."""

    name: ClassVar[str] = "vpc"
    role: ClassVar[Role] = Role.NETWORK
    Settings = VpcSettings

    def place(self, settings: VpcSettings, region: str | None, zones: tuple[str, ...]) -> tuple[Node, ...]:
        """One node in each zone: its subnets."""
        return one_per_zone(self.name, zones)

    def behaviour(self, settings: VpcSettings) -> Behaviour:
        """A network does nothing in time."""
        return Behaviour()

    def failure_modes(self, group: Group) -> tuple[FailureMode, ...]:
        """What is cut off when a zone's network fails."""
        lost = FailureMode(
            "zone lost",
            "zone",
            "everything in the zone's subnets is cut off",
            "by the health checks of the blocks that call into the zone",
            "the other zones carry on; give them room for the lost share",
        )
        return (lost,) if group.settings.nat == "none" else (lost, _nat_lost(group))

    def identity(self, group: Group, node: Node) -> Mapping[str, str]:
        """Nothing runs here."""
        return {}


def _nat_lost(group: Group) -> FailureMode:
    zonal = group.settings.nat == "zonal"
    return FailureMode(
        "NAT gateway lost",
        "zone",
        "programs in the zone's private subnets reach no address outside of AWS",
        "their outgoing calls time out; incoming requests are not affected",
        "only with the zone: its routes name this gateway" if zonal else "AWS moves it: it spans the zones",
    )
