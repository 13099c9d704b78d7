"""The reference architectures differ in their platform and in nothing else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from holdfast import patterns
from holdfast.manifest import Compute, Manifest, Service
from holdfast.topology import resolve

COMPONENTS = {
    "ec2": "ec2",
    "ecs-ec2": "ecs",
    "fargate": "ecs",
    "eks": "eks",
    "beanstalk": "elasticbeanstalk",
    "lambda": "awslambda",
}


def test_there_are_six() -> None:
    assert dict.fromkeys(patterns.NAMES) == dict.fromkeys(COMPONENTS)
    assert list(patterns.every()) == list(patterns.NAMES)


@pytest.mark.parametrize(("name", "component"), COMPONENTS.items())
def test_a_pattern_runs_on_its_platform(name: str, component: str) -> None:
    assert resolve(patterns.pattern(name)).compute("eu-west-1").component == component


def test_the_two_ways_to_run_tasks_differ_by_launch() -> None:
    launches = [
        resolve(patterns.pattern(name)).compute("eu-west-1").settings.launch
        for name in ("ecs-ec2", "fargate")
    ]
    assert launches == ["ec2", "fargate"]


def test_pattern_is_the_only_difference() -> None:
    bases = {
        found.model_copy(update={"compute": patterns.BASE.compute}).model_dump_json()
        for found in patterns.every().values()
    }
    assert bases == {patterns.BASE.model_dump_json()}


def test_a_pattern_keeps_what_its_base_says() -> None:
    mine = Manifest(service=Service(name="mine", app="a:b"), compute=Compute(vcpu=1.0, memory_gib=2.0))
    moved = patterns.pattern("eks", mine)
    assert (moved.service.name, moved.compute.vcpu, moved.compute.pattern) == ("mine", 1.0, "eks")
    assert moved.compute.model_fields_set == {"vcpu", "memory_gib", "pattern"}


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(ValidationError, match="pattern"):
        patterns.pattern("mainframe")
