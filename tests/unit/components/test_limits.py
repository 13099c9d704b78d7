"""Validators that read what AWS allows from the facts, and the look-up of components."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from holdfast.components import component
from holdfast.components.limits import allowed, one_of
from holdfast.errors import HoldfastError


def test_both_ends_of_a_range_belong_to_it() -> None:
    seconds = TypeAdapter(Annotated[float, allowed("alb.health_check_interval")])
    assert [seconds.validate_python(value) for value in (5, 300)] == [5, 300]


def test_the_message_names_the_range_the_unit_and_the_fact() -> None:
    seconds = TypeAdapter(Annotated[float, allowed("alb.health_check_interval")])
    with pytest.raises(
        ValidationError, match=r"AWS allows 5 to 300 seconds here \(alb\.health_check_interval\), not 4"
    ):
        seconds.validate_python(4)


def test_an_open_range_has_one_end() -> None:
    grace = TypeAdapter(Annotated[float, allowed("ec2.asg_health_check_grace_period")])
    assert grace.validate_python(1e9) == 1e9
    with pytest.raises(ValidationError, match="AWS allows 0 or more seconds"):
        grace.validate_python(-1)


def test_a_choice_outside_of_the_list_is_told_the_list() -> None:
    choice = TypeAdapter(Annotated[int, one_of("route53.health_check_intervals")])
    assert choice.validate_python(30) == 30
    with pytest.raises(ValidationError, match="AWS offers 10, 30"):
        choice.validate_python(20)


def test_an_unknown_component_is_told_the_known_ones() -> None:
    with pytest.raises(HoldfastError, match="no component 'elb'") as caught:
        component("elb")
    assert caught.value.hint
    assert "alb" in caught.value.hint
