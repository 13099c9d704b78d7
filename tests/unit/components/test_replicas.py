"""The platforms that run replicas: EC2, ECS, EKS, Elastic Beanstalk; and Lambda, which does not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from holdfast import facts
from holdfast.components import component
from holdfast.model import DeadNode, FailureMode, Group

ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
REPLICAS = ("ec2", "ecs", "eks", "elasticbeanstalk")


def group_of(name: str, **settings: Any) -> Group:
    block = component(name)
    values = block.Settings.model_validate(settings)
    nodes = block.place(values, "eu-west-1", ZONES)
    return Group(
        f"eu-west-1/{name}", name, block.role, "eu-west-1", values, block.behaviour(values), nodes, ZONES
    )


def mode(name: str, called: str, **settings: Any) -> FailureMode:
    (found,) = [m for m in component(name).failure_modes(group_of(name, **settings)) if m.name == called]
    return found


@pytest.mark.parametrize("name", REPLICAS)
def test_replicas_go_round_the_zones_and_spot_comes_last(name: str) -> None:
    nodes = group_of(name, replicas_min=6, spot=0.5).nodes
    assert [node.zone for node in nodes] == [*ZONES, *ZONES]
    assert [node.spot for node in nodes] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("name", REPLICAS)
def test_spot_is_announced_only_where_it_is_used(name: str) -> None:
    assert group_of(name).behaviour.spot_notice_s is None
    assert group_of(name, spot=0.5).behaviour.spot_notice_s == 120
    assert mode(name, "Spot capacity reclaimed", spot=0.4, replicas_min=5).effect.startswith("up to 2 of 5")


@pytest.mark.parametrize("name", REPLICAS)
def test_the_limits_of_scaling_are_the_replicas(name: str) -> None:
    scale = group_of(name, replicas_min=2, replicas_max=8, scale_cpu_pct=60).behaviour.scale
    assert scale is not None
    assert (scale.minimum, scale.maximum, scale.cpu_pct, scale.rps_per_node) == (2, 8, 60, None)


@pytest.mark.parametrize("name", REPLICAS)
def test_a_measured_start_wins_over_the_fact(name: str) -> None:
    behaviour = group_of(name, start_s=12).behaviour
    assert behaviour.start_s == 12
    assert behaviour.because["start_s"] == f"setting:{name}.start_s"
    assert group_of(name).behaviour.because["start_s"].startswith("fact:")


def test_who_tells_the_balancer_about_a_dead_replica() -> None:
    told = {name: group_of(name).behaviour.dead_node for name in (*REPLICAS, "awslambda")}
    assert told == {
        "ec2": DeadNode.HEALTH_CHECK,
        "ecs": DeadNode.DEREGISTERED,
        "eks": DeadNode.DEREGISTERED,
        "elasticbeanstalk": DeadNode.HEALTH_CHECK,
        "awslambda": DeadNode.DEREGISTERED,
    }


def test_auto_scaling_looks_once_a_minute_and_schedulers_at_once() -> None:
    assert [group_of(name).behaviour.notice_s for name in REPLICAS] == [60, 0, 0, 60]
    assert "launched after 60 s" in mode("ec2", "instance dies").recover
    assert "launched at once (no figure is published)" in mode("ecs", "task crashes").recover


def test_a_task_on_a_running_instance_starts_faster_than_on_fargate() -> None:
    fargate, running = group_of("ecs").behaviour, group_of("ecs", launch="ec2").behaviour
    assert fargate.start_s == facts.number("ecs.fargate_task_start")
    assert running.start_s == facts.number("ecs.awsvpc_attach")


@pytest.mark.parametrize(("desired", "failures"), [(1, 3), (3, 3), (7, 4), (20, 10), (1000, 200)])
def test_ecs_breaker_is_half_of_the_tasks_within_its_bounds(desired: int, failures: int) -> None:
    deploy = group_of("ecs").behaviour.deploy
    assert deploy is not None
    assert deploy.breaker_failures(desired) == failures


@pytest.mark.parametrize("name", ["ec2", "eks", "elasticbeanstalk"])
def test_without_a_breaker_of_its_own_the_count_is_ours(name: str) -> None:
    deploy = group_of(name, breaker_failures=4).behaviour.deploy
    assert deploy is not None
    assert deploy.breaker_failures(100) == 4
    assert mode(name, "bad deployment", breaker_failures=4).detect.startswith("4 failed starts")


@pytest.mark.parametrize(
    ("name", "settings", "percentages"),
    [
        ("ecs", {}, (100, 200)),
        ("ec2", {"minimum_healthy_pct": 90, "maximum_pct": 100}, (90, 100)),
        ("eks", {"max_unavailable_pct": 25, "max_surge_pct": 25}, (75, 125)),
        ("elasticbeanstalk", {"batch_pct": 25}, (100, 125)),
        ("elasticbeanstalk", {"batch_pct": 25, "policy": "Rolling"}, (75, 100)),
        ("elasticbeanstalk", {"policy": "Immutable"}, (100, 200)),
    ],
)
def test_deployment_keeps_what_the_platform_keeps(
    name: str, settings: dict[str, Any], percentages: tuple[int, int]
) -> None:
    deploy = group_of(name, **settings).behaviour.deploy
    assert deploy is not None
    assert (deploy.minimum_healthy_pct, deploy.maximum_pct) == percentages


@pytest.mark.parametrize("name", REPLICAS)
def test_default_deployments_never_serve_with_less_and_can_proceed(name: str) -> None:
    group = group_of(name)
    deploy = group.behaviour.deploy
    assert deploy is not None
    assert deploy.minimum_healthy_pct == 100
    assert len(group.nodes) * deploy.maximum_pct // 100 > len(group.nodes)


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        *((name, {"replicas_min": 5, "replicas_max": 4}, "above replicas_max") for name in REPLICAS),
        *((name, {"spot": 1.5}, "less than or equal to 1") for name in REPLICAS),
        *((name, {"drain_s": 4000}, "AWS allows 0 to 3600") for name in REPLICAS),
        ("ecs", {"stop_s": 121}, "AWS allows 0 to 120"),
        ("ecs", {"vcpu": 0.3}, "Fargate offers 0.25, 0.5, 1, 2"),
        ("ecs", {"vcpu": 1, "memory_gib": 1}, "Fargate offers 2, 3, 4, 5, 6, 7, 8 GiB with 1 vCPU, not 1"),
        ("ecs", {"maximum_pct": 100}, "neither stop nor start"),
        ("ec2", {"minimum_healthy_pct": 50, "maximum_pct": 200}, "at most 100 between"),
        ("eks", {"max_unavailable_pct": 0, "max_surge_pct": 0}, "both 0"),
        ("elasticbeanstalk", {"batch_pct": 0}, "AWS allows 1 to 100"),
        ("elasticbeanstalk", {"policy": "AllAtOnce"}, "'RollingWithAdditionalBatch'"),
        ("elasticbeanstalk", {"replicas_max": 10001}, "AWS allows 1 to 10000"),
        ("awslambda", {"timeout_s": 901}, "AWS allows 1 to 900"),
        ("awslambda", {"memory_gib": 0.1}, "AWS allows 128 to 10240 MB"),
        ("awslambda", {"memory_gib": 11}, "AWS allows 128 to 10240 MB"),
        ("awslambda", {"provisioned": 11, "reserved_concurrency": 10}, "above reserved_concurrency"),
    ],
)
def test_settings_outside_of_what_the_platform_allows(name: str, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        component(name).Settings.model_validate(wrong)


def test_any_size_goes_on_instances_of_ones_own() -> None:
    assert group_of("ecs", launch="ec2", vcpu=0.3, memory_gib=0.7).settings.vcpu == 0.3


def test_zone_loss_counts_the_fullest_zone() -> None:
    assert mode("ecs", "zone lost", replicas_min=4).effect.startswith("up to 2 of 4")


def test_platforms_name_themselves_as_they_do_on_aws() -> None:
    def identity(name: str, **settings: Any) -> dict[str, str]:
        group = group_of(name, **settings)
        return dict(component(name).identity(group, group.nodes[0]))

    assert identity("ecs")["AWS_EXECUTION_ENV"] == "AWS_ECS_FARGATE"
    assert identity("ecs", launch="ec2")["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"
    assert identity("eks")["POD_NAME"] == "eu-west-1a-eks-1"
    assert identity("awslambda", memory_gib=1.5)["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "1536"
    assert not [key for key in identity("ec2") if key.startswith("AWS_")]


def test_a_function_serves_one_request_at_a_time_up_to_its_concurrency() -> None:
    behaviour = group_of("awslambda", reserved_concurrency=40).behaviour
    assert (behaviour.concurrency, behaviour.fleet_concurrency) == (1, 40)
    assert behaviour.max_payload_bytes == 6 * 1024 * 1024
    assert group_of("awslambda").behaviour.fleet_concurrency == 1000
    assert mode("awslambda", "throttled", reserved_concurrency=40).detect.startswith(
        "40 requests in progress, or 400"
    )
