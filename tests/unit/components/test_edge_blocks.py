"""Route 53, CloudFront, edge functions and the client bucket."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from holdfast.components import component
from holdfast.model import Group

route53, cloudfront, edge = component("route53"), component("cloudfront"), component("edgefunction")


def global_group(name: str, **settings: Any) -> Group:
    block = component(name)
    values = block.Settings.model_validate(settings)
    return Group(name, name, block.role, None, values, block.behaviour(values), block.place(values, None, ()))


def test_dns_failover_is_detection_plus_ttl() -> None:
    behaviour = route53.behaviour(route53.Settings(interval_s=30, failure_threshold=3, ttl_s=60))
    assert behaviour.failover_s == 150
    assert behaviour.health is not None
    assert behaviour.health.timeout_s == 6
    assert behaviour.fail_open


def test_dns_tells_the_numbers_of_its_own_group() -> None:
    (region_lost, *_) = route53.failure_modes(global_group("route53", interval_s=30, ttl_s=45))
    assert region_lost.detect.startswith("60 to 96 s")
    assert "18%" in region_lost.detect
    assert "45 s" in region_lost.recover


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"interval_s": 15}, "AWS offers 10, 30 here"),
        ({"failure_threshold": 11}, "AWS allows 1 to 10"),
        ({"weights": {"eu-west-1": 256}}, "AWS allows 0 to 255"),
        ({"ttl_s": -1}, "greater than or equal to 0"),
        ({"routing": "nearest"}, "'latency', 'failover' or 'weighted'"),
    ],
)
def test_dns_settings_outside_of_what_aws_allows(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        route53.Settings.model_validate(wrong)


def test_a_dead_origin_costs_attempts_times_timeout() -> None:
    behaviour = cloudfront.behaviour(
        cloudfront.Settings(connection_attempts=2, connection_timeout_s=3, behaviors=[{"path": "/c"}])
    )
    assert behaviour.failover_s == 6
    assert behaviour.retry.failover_methods == ("GET", "HEAD", "OPTIONS")
    assert behaviour.retry.failover_statuses == (500, 502, 503, 504)


def test_without_origin_failover_nothing_is_repeated_elsewhere() -> None:
    assert global_group("cloudfront").behaviour.failover_s is None, "no cached behavior, so no origin group"
    group = global_group("cloudfront", origin_failover=False, behaviors=[{"path": "/c"}])
    assert group.behaviour.failover_s is None
    assert group.behaviour.retry.failover_methods == ()
    assert group.behaviour.retry.connect_attempts == 3
    assert not any("second origin" in mode.recover for mode in cloudfront.failure_modes(group))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"connection_attempts": 4}, "AWS allows 1 to 3"),
        ({"connection_timeout_s": 11}, "AWS allows 1 to 10"),
        ({"read_timeout_s": 121}, "AWS allows 1 to 120"),
        ({"failover_statuses": (500, 501)}, "AWS offers 400, 403, 404"),
        ({"behaviors": [{"path": "/a", "min_ttl_s": 10, "default_ttl_s": 5}]}, "min_ttl_s <= default_ttl_s"),
        ({"api_paths": [f"/{n}" for n in range(26)]}, "AWS allows 25 cache behaviors"),
        ({"behaviors": [{"path": ""}]}, "at least 1 character"),
    ],
)
def test_cdn_settings_outside_of_what_aws_allows(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        cloudfront.Settings.model_validate(wrong)


def test_api_paths_are_not_cached_unless_a_behavior_says_so() -> None:
    assert cloudfront.Settings().behaviors == ()
    (one,) = cloudfront.Settings.model_validate(
        {"behaviors": [{"path": "/api/list", "query": ["page"]}]}
    ).behaviors
    assert one.cache
    assert one.query == ("page",)


def test_a_redirect_is_written_as_in_the_manifest() -> None:
    settings = edge.Settings.model_validate({"redirects": [{"from": "/old", "to": "/new", "status": 308}]})
    assert (settings.redirects[0].source, settings.redirects[0].target) == ("/old", "/new")
    with pytest.raises(ValidationError, match="301, 302, 303, 307 or 308"):
        edge.Settings.model_validate({"redirects": [{"from": "/old", "to": "/new", "status": 200}]})


def test_default_edge_headers_belong_to_no_one_to_change() -> None:
    edge.Settings().response_headers["x-extra"] = "1"
    assert "x-extra" not in edge.Settings().response_headers


def test_a_bucket_outlives_a_zone() -> None:
    bucket = component("s3")
    (node,) = bucket.place(bucket.Settings(), "eu-west-1", ("eu-west-1a", "eu-west-1b"))
    assert (node.id, node.zone) == ("eu-west-1/s3", None)
