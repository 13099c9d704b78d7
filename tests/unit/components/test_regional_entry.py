"""API Gateway, the load balancer and the network of a region."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from holdfast.components import component
from holdfast.model import Group

ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")


def group_of(name: str, **settings: Any) -> Group:
    block = component(name)
    values = block.Settings.model_validate(settings)
    nodes = block.place(values, "eu-west-1", ZONES)
    return Group(
        f"eu-west-1/{name}", name, block.role, "eu-west-1", values, block.behaviour(values), nodes, ZONES
    )


def test_balancer_detection_follows_its_settings() -> None:
    group = group_of("alb", interval_s=10, timeout_s=4, unhealthy_threshold=3)
    (dead, hangs, zone, everything) = component("alb").failure_modes(group)
    assert dead.detect.startswith("20 to 30 s")
    assert hangs.detect == "up to 34 s by health check"
    assert "60 s" in zone.recover
    assert "one in 3" in zone.effect
    assert "fails open" in everything.effect


def test_balancer_limits_come_from_facts() -> None:
    behaviour = group_of("alb").behaviour
    assert behaviour.max_header_bytes == 64 * 1024
    assert behaviour.connect_timeout_s == 10
    assert behaviour.fail_open


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"interval_s": 4}, "AWS allows 5 to 300"),
        ({"timeout_s": 1}, "AWS allows 2 to 120"),
        ({"interval_s": 5, "timeout_s": 5}, "must be below interval_s"),
        ({"unhealthy_threshold": 1}, "AWS allows 2 to 10"),
        ({"healthy_threshold": 11}, "AWS allows 2 to 10"),
        ({"slow_start_s": 10}, r"AWS allows 0 \(off\) or 30 s and more"),
        ({"slow_start_s": 901}, "AWS allows 0 to 900"),
        ({"drain_s": 3601}, "AWS allows 0 to 3600"),
        ({"idle_timeout_s": 0}, "AWS allows 1 to 4000"),
    ],
)
def test_balancer_settings_outside_of_what_aws_allows(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        component("alb").Settings.model_validate(wrong)


@pytest.mark.parametrize("slow_start_s", [0, 30, 900])
def test_slow_start_is_off_or_in_range(slow_start_s: float) -> None:
    assert group_of("alb", slow_start_s=slow_start_s).behaviour.slow_start_s == slow_start_s


def test_gateway_without_settings_has_the_quota_of_an_account() -> None:
    behaviour = group_of("apigateway").behaviour
    assert behaviour.rate_limit is not None
    assert (behaviour.rate_limit.rate, behaviour.rate_limit.burst) == (10000, 5000)
    assert behaviour.request_timeout_s == 29
    assert behaviour.max_payload_bytes == 10 * 1024 * 1024


def test_gateway_tells_its_own_throttle() -> None:
    (throttled, *_) = component("apigateway").failure_modes(
        group_of("apigateway", throttle={"rate": 7, "burst": 9}, timeout_s=3)
    )
    assert "7 requests/s and 9 at once" in throttled.detect


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"timeout_s": 30}, "AWS allows 0.05 to 29 seconds"),
        ({"timeout_s": 0.01}, "AWS allows 0.05 to 29 seconds"),
        ({"throttle": {"rate": 0}}, "greater than 0"),
        ({"stage": "a b"}, "pattern"),
    ],
)
def test_gateway_settings_outside_of_what_aws_allows(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        component("apigateway").Settings.model_validate(wrong)


@pytest.mark.parametrize(
    ("cidr", "said"),
    [
        ("10.0.0.0/8", "AWS allows /16 to /28"),
        ("10.0.0.0/29", "AWS allows /16 to /28"),
        ("10.0.1.0/16", "10.0.0.0/16 is"),
        ("ten", "Expected 4 octets"),
    ],
)
def test_network_block_is_checked(cidr: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        component("vpc").Settings(cidr=cidr)


def test_nat_fails_only_where_there_is_one() -> None:
    vpc = component("vpc")
    told = {
        nat: [mode.name for mode in vpc.failure_modes(group_of("vpc", nat=nat))] for nat in ("none", "zonal")
    }
    assert told == {"none": ["zone lost"], "zonal": ["zone lost", "NAT gateway lost"]}
