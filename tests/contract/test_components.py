"""What every component in the registry must keep, whoever adds the next one."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from holdfast import facts
from holdfast.components import REGISTRY, component, names
from holdfast.components.base import Component
from holdfast.components.base import Settings as BaseSettings
from holdfast.model import Behaviour, Group, Node, Role

ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
NETWORK_ONLY = {Role.NETWORK}
FUTURE = ("build", "line_items")
ALLOW_LIST = tomllib.loads((Path(__file__).parent / "allow_list.toml").read_text(encoding="utf-8"))
DATE = re.compile(r"20\d\d(-[01]\d(-[0-3]\d)?)?")
REASON = re.compile(r"(setting|fact):([a-z0-9]+)\.([a-z0-9_.]+)")

#: Settings that switch on what the defaults leave off, so that those numbers are looked at as well.
VARIANTS: dict[str, dict[str, Any]] = {
    "route53": {"routing": "weighted", "weights": {"eu-west-1": 3}},
    "cloudfront": {"origin_failover": False},
    "s3": {"versioning": False},
    "apigateway": {"throttle": {"rate": 100, "burst": 200}},
    "vpc": {"nat": "regional"},
    "alb": {"slow_start_s": 60, "cross_zone": False},
    "ec2": {"replicas_min": 7, "spot": 0.5, "scale_cpu_pct": 60, "scale_rps": 50, "start_s": 40},
    "ecs": {"replicas_min": 7, "spot": 0.5, "scale_cpu_pct": 60, "launch": "ec2"},
    "eks": {"replicas_min": 7, "spot": 0.5, "scale_rps": 50, "start_s": 12},
    "elasticbeanstalk": {"replicas_min": 7, "spot": 0.5, "scale_cpu_pct": 60, "policy": "Immutable"},
    "awslambda": {"provisioned": 5, "memory_gib": 2},
}
BLOCKS = pytest.mark.parametrize("block", REGISTRY, ids=lambda block: block.name)


def settings_of(block: Component[Any]) -> Iterator[Any]:
    yield block.Settings()
    yield block.Settings.model_validate(VARIANTS.get(block.name, {}))


def group_of(block: Component[Any], settings: Any) -> Group:
    region = "eu-west-1" if block.regional else None
    zones = ZONES if block.regional else ()
    nodes = block.place(settings, region, zones)
    where = f"{region or 'global'}/{block.name}"
    return Group(where, block.name, block.role, region, settings, block.behaviour(settings), nodes, zones)


def models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """``model`` and every settings model that its fields mention, however deep."""
    yield model
    for field in model.model_fields.values():
        yield from (inner for part in _parts(field.annotation) for inner in models_in(part))


def _parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _parts(argument)


def numbers(value: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields that hold a number; a nested value equal to its own default does nothing."""
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(inner) and inner != field.default:
            yield from numbers(inner, f"{name}.")
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield name


def reasons(behaviour: Behaviour) -> Iterator[tuple[str, str]]:
    """Each ``(field, reason)``; a number made of several has them separated by a comma."""
    for field, text in behaviour.because.items():
        yield from ((field, reason) for reason in text.split(", "))


def test_the_registry_is_in_request_order_without_repeats() -> None:
    assert len(set(names())) == len(REGISTRY)
    roles = [component(name).role for name in names()]
    ways = [Role.DNS, Role.CDN, Role.GATEWAY, Role.BALANCER, Role.WORKERS, Role.FUNCTIONS]
    assert [roles.index(role) for role in ways] == sorted(roles.index(role) for role in ways)


def test_every_module_has_its_facts_file() -> None:
    folder = Path(inspect.getfile(BaseSettings)).parent
    assert {path.stem for path in folder.glob("*.toml")} == set(names())


@BLOCKS
def test_settings_are_frozen_closed_and_documented(block: Component[Any]) -> None:
    for model in models_in(block.Settings):
        assert issubclass(model, BaseSettings)
        assert model.__doc__
        assert model.model_config["frozen"]
        assert model.model_config["extra"] == "forbid"
        undocumented = [name for name, field in model.model_fields.items() if not field.description]
        assert not undocumented, f"{model.__name__}: {undocumented}"
    with pytest.raises(ValidationError):
        block.Settings.model_validate({"no_such_setting": 1})


@BLOCKS
def test_defaults_pass_their_own_validation(block: Component[Any]) -> None:
    defaults = block.Settings()
    assert block.Settings.model_validate(defaults.model_dump(by_alias=True)) == defaults


@BLOCKS
def test_each_number_says_why(block: Component[Any]) -> None:
    for settings in settings_of(block):
        behaviour = block.behaviour(settings)
        unexplained = set(numbers(behaviour)) - set(behaviour.because)
        assert not unexplained, f"{block.name}: {sorted(unexplained)}"


@BLOCKS
def test_each_reason_exists(block: Component[Any]) -> None:
    for settings in settings_of(block):
        for field, reason in reasons(block.behaviour(settings)):
            match = REASON.fullmatch(reason)
            assert match, f"{block.name}.{field}: {reason}"
            kind, owner, name = match.groups()
            if kind == "fact":
                assert facts.get(f"{owner}.{name}").key == f"{owner}.{name}"
            else:
                assert owner == block.name
                _read(settings, name)


def _read(settings: Any, dotted: str) -> None:
    for part in dotted.split("."):
        assert part in type(settings).model_fields, dotted
        settings = getattr(settings, part)


@BLOCKS
def test_each_reason_is_about_a_field(block: Component[Any]) -> None:
    def exists(owner: Any, dotted: str) -> bool:
        head, _, rest = dotted.partition(".")
        hints = typing.get_type_hints(owner)
        if head not in hints:
            return False
        kinds = [
            kind for kind in (hints[head], *typing.get_args(hints[head])) if dataclasses.is_dataclass(kind)
        ]
        return not rest or any(exists(kind, rest) for kind in kinds)

    for settings in settings_of(block):
        unknown = [field for field in block.behaviour(settings).because if not exists(Behaviour, field)]
        assert not unknown, f"{block.name}: {unknown}"


@BLOCKS
def test_each_fact_has_a_source_and_a_date(block: Component[Any]) -> None:
    known = facts.load(block.name)
    assert known
    for fact in known.values():
        assert fact.source.startswith("https://"), fact.key
        assert DATE.fullmatch(fact.as_of), f"{fact.key}: {fact.as_of}"
        assert fact.unit, fact.key
        assert fact.confidence in {"high", "medium", "medium-low", "low"}, fact.key
        if isinstance(fact.value, int | float) and not isinstance(fact.value, bool):
            assert (fact.minimum if fact.minimum is not None else fact.value) <= fact.value, fact.key
            assert (fact.maximum if fact.maximum is not None else fact.value) >= fact.value, fact.key


@BLOCKS
def test_placing_is_deterministic_and_stays_in_the_zones(block: Component[Any]) -> None:
    for settings in settings_of(block):
        nodes = group_of(block, settings).nodes
        assert nodes == group_of(block, settings).nodes
        assert nodes
        assert len({node.id for node in nodes}) == len(nodes)
        for node in nodes:
            assert node.zone is None or node.zone in ZONES
            assert node.id.startswith(f"{node.zone}/" if node.zone else ("eu-west-1/", "global/"))
            assert block.regional or node.zone is None


@BLOCKS
def test_workers_cover_all_zones(block: Component[Any]) -> None:
    if block.role in {Role.WORKERS, Role.FUNCTIONS, Role.BALANCER, Role.GATEWAY}:
        assert {node.zone for node in group_of(block, block.Settings()).nodes} == set(ZONES)


@BLOCKS
def test_failure_modes_are_told_in_full(block: Component[Any]) -> None:
    for settings in settings_of(block):
        modes = block.failure_modes(group_of(block, settings))
        assert modes
        assert len({mode.name for mode in modes}) == len(modes)
        for mode in modes:
            assert mode.scope in {"node", "zone", "region", "global", "deploy"}
            assert all(dataclasses.astuple(mode)), mode
            assert "None" not in " ".join(dataclasses.astuple(mode)), mode
        if block.regional and block.role not in NETWORK_ONLY:
            assert {"region", "zone"} & {mode.scope for mode in modes}


@BLOCKS
def test_identity_is_for_programs_only_and_names_the_place(block: Component[Any]) -> None:
    group = group_of(block, block.Settings())
    node: Node = group.nodes[-1]
    variables = block.identity(group, node)
    if block.role not in {Role.WORKERS, Role.FUNCTIONS}:
        assert not variables
        return
    assert variables["HOLDFAST_REGION"] == "eu-west-1"
    assert variables["HOLDFAST_ZONE"] == node.zone
    assert variables["HOLDFAST_NODE"] == node.id
    assert all(variables.values())


@BLOCKS
def test_future_facets_are_listed_until_they_exist(block: Component[Any]) -> None:
    missing = [facet for facet in FUTURE if not hasattr(type(block), facet)]
    assert ALLOW_LIST.get(block.name, []) == missing, "tests/contract/allow_list.toml does not match the code"


def test_the_allow_list_names_only_components() -> None:
    assert set(ALLOW_LIST) <= set(names())
