"""Names of what can be broken."""

from __future__ import annotations

import pytest

from holdfast.errors import InputError
from holdfast.local.targets import Kind, Names, Target, resolve

NAMES = Names(
    nodes=("eu-west-1a/ecs-1", "eu-west-1b/ecs-2", "us-east-1a/ecs-1", "eu-west-1a/alb"),
    zones=("eu-west-1a", "eu-west-1b", "us-east-1a"),
    regions=("eu-west-1", "us-east-1"),
    links=("cloudfront:apigateway.eu-west-1",),
)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("eu-west-1", Target(Kind.REGION, "eu-west-1")),
        ("eu-west-1a", Target(Kind.ZONE, "eu-west-1a")),
        ("ecs-2", Target(Kind.NODE, "eu-west-1b/ecs-2")),
        ("cloudfront:apigateway.eu-west-1", Target(Kind.LINK, "cloudfront:apigateway.eu-west-1")),
    ],
)
def test_exact_and_unambiguous_names(text: str, target: Target) -> None:
    assert resolve(text, NAMES) == target


def test_an_ambiguous_name_lists_what_it_could_be() -> None:
    with pytest.raises(InputError, match="eu-west-1a/ecs-1, us-east-1a/ecs-1"):
        resolve("ecs-1", NAMES)


def test_a_misspelt_name_suggests_the_right_one() -> None:
    with pytest.raises(InputError) as caught:
        resolve("eu-wset-1a", NAMES)
    assert "eu-west-1a" in (caught.value.hint or "")


def test_an_unknown_name_points_to_status() -> None:
    with pytest.raises(InputError) as caught:
        resolve("zzz", NAMES)
    assert "holdfast status" in (caught.value.hint or "")
