"""The manifest: what is accepted, what is refused, and that every refusal says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast import manifest
from holdfast.components import REGISTRY
from holdfast.components.base import Declared
from holdfast.errors import InputError, Problem
from holdfast.manifest import Manifest, parse
from holdfast.manifest.declare import ORIGIN
from holdfast.manifest.schema import Table
from holdfast.manifest.validate import TABLES

SERVICE = '[service]\nname = "orders"\ncommand = ["serve", "{port}"]\n'


def problems(text: str, env: str | None = None, folder: str = ".") -> list[str]:
    """What is wrong with ``text``: ``line key: message (hint)``."""
    with pytest.raises(InputError) as caught:
        parse(text, env=env, folder=folder)
    return [f"{p.line} {p.key}: {p.message} ({p.hint})" for p in caught.value.problems]


def only(text: str, **options: Any) -> str:
    (problem,) = problems(text, **options)
    return problem


# -------------------------------------------------------------------------------------------- accepted


def test_three_lines_are_enough() -> None:
    found = parse(SERVICE)
    assert found.regions.names == ("eu-west-1", "us-east-1")
    assert found.regions.zones == 3
    assert found.entry.chain == ("cloudfront", "apigateway", "alb")
    assert found.compute.pattern == "fargate"
    assert found.service.health == "/health"


def test_the_documented_manifest_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "api.py").touch()
    (tmp_path / "openapi.yaml").touch()
    (tmp_path / "web").mkdir()
    text = """
[service]
name    = "orders"
app     = "orders.api:app"
health  = "/health"
drain_s = 20
openapi = "openapi.yaml"
client  = "web/"
[regions]
names   = ["eu-west-1", "us-east-1"]
zones   = 3
routing = "latency"
domain  = "api.example.com"
[entry]
chain = ["cloudfront", "apigateway", "alb"]
[apigateway]
throttle = { rate = 1000, burst = 2000 }
[compute]
pattern  = "fargate"
replicas = { min = 3, max = 30 }
vcpu     = 0.5
memory_gib = 1
scale    = { cpu = 60 }
[objectives]
availability = 99.99
p99_ms = 300
rto_s  = 60
rpo_s  = 5
monthly_usd = 900
[load]
rps = 200
"""
    found = parse(text, folder=str(tmp_path))
    assert found.service.client == "web/"
    assert found.blocks == {"apigateway": {"throttle": {"rate": 1000, "burst": 2000}}}
    assert manifest.settings(found, "apigateway").throttle.rate == 1000  # type: ignore[attr-defined]


def test_a_manifest_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(SERVICE).service.name = "other"  # type: ignore[misc]


def test_every_key_is_documented_and_has_an_example() -> None:
    for table in Table.__subclasses__():
        if table is not Manifest:
            assert table.__doc__
            for name, field in table.model_fields.items():
                assert field.description, f"{table.__name__}.{name}"
                assert field.examples, f"{table.__name__}.{name}"


def test_every_declared_value_has_an_origin_in_the_manifest() -> None:
    assert set(ORIGIN) == set(Declared.model_fields)
    for path in ORIGIN.values():
        model: Any = Manifest
        for part in path:
            assert part in model.model_fields, path
            model = model.model_fields[part].annotation


# -------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('nam = "x"', '4 service.nam: unknown key "nam" (did you mean "name"?)'),
        (
            'drain_s = "20"',
            '4 service.drain_s: expected a number, found the text "20" (for example drain_s = 20)',
        ),
        ("drain_s = nan", "4 service.drain_s: expected a finite number, found the number nan"),
        ("drain_s = true", "4 service.drain_s: expected a number, found true"),
        ('health = "health"', '4 service.health: must be a path that starts with "/"'),
        ("env = { PORT = 80 }", "4 service.env.PORT: expected text in quotes, found the number 80"),
        ('app = "orders:app"', "1 service: has both app and command; keep one of them"),
        ('openapi = "no.yaml"', '4 service.openapi: there is no file "no.yaml"'),
        ('client = "web"', '4 service.client: there is no folder "web"'),
        ('root = "nowhere"', '4 service.root: there is no folder "nowhere"'),
        ('root = ""', "4 service.root: must not be empty"),
        ('openapi = "a\\u0000b"', "4 service.openapi: must not contain a NUL character"),
        ("[regions]\nzones = 7", "5 regions.zones: must be at most 6, found the number 7"),
        ("[regions]\nzones = 4", "5 regions.zones: eu-west-1 offers 3 zones, not 4"),
        ('[regions]\nnames = ["eu-wst-1"]', '5 regions.names.0: AWS has no region "eu-wst-1"'),
        (
            '[regions]\nnames = [\n"eu-west-1",\n3]',
            "7 regions.names.1: expected text in quotes, found the number 3",
        ),
        ('[regions]\nnames = ["eu-west-1", "eu-west-1"]', '5 regions.names: names "eu-west-1" twice'),
        ('[regions]\nrouting = "latncy"', "5 regions.routing: must be one of latency, failover, weighted"),
        (
            '[regions]\nnames=["eu-west-1"]\nrouting = "failover"',
            "6 regions.routing: failover needs a second region",
        ),
        (
            "[regions]\nweights = { eu-west-1 = 1 }",
            '5 regions.weights: has no effect with routing = "latency"',
        ),
        ('[regions]\ndomain = "https://x.com"', "5 regions.domain: must be a lower-case domain name"),
        ('[entry]\nchain = ["alb", "apigateway"]', '5 entry.chain.1: "apigateway" cannot stand behind "alb"'),
        ('[entry]\nchain = ["cloudfront"]', "5 entry.chain: has no block inside of a region"),
        ('[entry]\nchain = ["route53", "alb"]', "5 entry.chain.0: route53 is always in front"),
        ('[entry]\nchain = ["abl"]', '5 entry.chain.0: "abl" is not a block that requests can pass through'),
        ("[compute]\nreplicas = { min = 5, max = 2 }", "5 compute.replicas: has min = 5 above max = 2"),
        ("[compute.replicas]\nmin = 0", "5 compute.replicas.min: must be at least 1, found the number 0"),
        ("[compute]\nvcpu = 0.6", "4 compute: Fargate offers"),
        ('[compute]\npattern = "fargat"', "5 compute.pattern: must be one of ec2, ecs-ec2, fargate"),
        (
            "[alb]\nintervall_s = 3",
            '5 alb.intervall_s: unknown key "intervall_s" (did you mean "interval_s"?)',
        ),
        ("[alb]\ninterval_s = 6\ntimeout_s = 6", "4 alb: timeout_s (6) must be below interval_s (6)"),
        ("[cloudfront]\nspa = 1", "5 cloudfront.spa: expected true or false, found the number 1"),
        ('[stores.orders]\nkind = "dynamodb"', "4 stores.orders: stores come with a later version"),
        ("[regoins]\nzones = 3", '4 regoins: unknown table "regoins" (did you mean "regions"?)'),
        ("[compute]\n[compute]", "5 compute: is written twice (first in line 4)"),
        ("drain_s = 1\ndrain_s = 2", "5 service.drain_s: is written twice (first in line 4)"),
        ("drain_s = = 2", "4 None: is not valid TOML: Invalid value"),
    ],
)
def test_a_problem_says_line_key_and_remedy(line: str, problem: str) -> None:
    assert only(SERVICE + line).startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "None None: is missing"),
        ("service = 3", "1 service: expected a table, found the number 3 (None)"),
        ('[service]\ncommand = ["{port}"]', '1 service.name: is missing (for example name = "orders")'),
        ('[service]\nname = "a"', "1 service: says nothing to run; add app or command"),
        ('[service]\nname = "a"\ncommand = ["serve"]', '1 service: command never mentions "{port}"'),
        (
            '[service]\nname = "A b"\ncommand = ["{port}"]',
            "2 service.name: must be 1 to 40 lower-case letters",
        ),
        (
            '[service]\nname = "a"\napp = "no_such_module:app"',
            '3 service.app: there is no module "no_such_module"',
        ),
        ('[service]\nname = "a"\napp = "api"', '3 service.app: must be "module:attribute"'),
    ],
)
def test_a_service_needs_a_name_and_a_program(text: str, problem: str) -> None:
    assert only(text).replace("None service", "None None").startswith(problem)


def test_all_problems_come_at_once_in_file_order() -> None:
    text = """[service]
name = 3
command = ["x"]
health = "health"
[regions]
names = ["eu-west-9"]
zones = "three"
[compute]
replicas = { min = -1 }
[alb]
interval_s = 1
[nonsense]
[env.prod.compute]
spot = 2
"""
    found = problems(text)
    keys = [problem.split(":")[0] for problem in found]
    assert keys == [
        "1 service", "2 service.name", "4 service.health", "6 regions.names.0", "7 regions.zones",
        "9 compute.replicas.min", "11 alb.interval_s", "12 nonsense", "14 env.prod.compute.spot",
    ]  # fmt: skip


def test_a_guess_made_for_a_wrong_value_causes_no_further_problem() -> None:
    # regions.names falls back to the default here, which has no ap-south-1.
    text = SERVICE + '[regions]\nnames = 3\nrouting = "weighted"\nweights = { ap-south-1 = 1 }\n'
    assert only(text).startswith("5 regions.names: expected a list")


def test_alternatives_of_a_value_are_told_at_its_key() -> None:
    found = problems(SERVICE + '[cloudfront]\nbehaviors = [{ path = "/x", query = 3 }]\n')
    assert [problem.split(":")[0] for problem in found] == ["5 cloudfront.behaviors.0.query"] * 2
    assert "expected a list in square brackets" in found[0]
    assert "must be one of all, none" in found[1]


def test_a_wrong_value_is_not_told_again_as_a_wrong_table() -> None:
    assert only(SERVICE + "[compute]\nreplicas = { min = -1, max = 1 }\n").startswith(
        "5 compute.replicas.min"
    )


def test_an_app_may_be_a_module_a_package_or_installed(tmp_path: Path) -> None:
    (tmp_path / "src" / "orders").mkdir(parents=True)
    (tmp_path / "src" / "orders" / "__init__.py").touch()
    text = '[service]\nname = "a"\napp = "{}:app"\n{}'
    assert parse(text.format("orders", 'root = "src"'), folder=str(tmp_path))
    assert parse(text.format("pytest", ""), folder=str(tmp_path))
    assert 'root = "src"' in only(text.format("orders", ""), folder=str(tmp_path))
    assert "orders/web.py" in only(text.format("orders.web", 'root = "src"'), folder=str(tmp_path))


# -------------------------------------------------------------------------------------------- overlays

OVERLAID = (
    SERVICE
    + '[regions]\nzones = 2\n[env.prod.regions]\nnames = ["us-east-1"]\n[env.wide.regions]\nzones = 3\n'
)


def test_an_overlay_merges_tables_and_replaces_values() -> None:
    prod = parse(OVERLAID, env="prod")
    assert (prod.regions.names, prod.regions.zones) == (("us-east-1",), 2)
    assert parse(OVERLAID, env="wide").regions.zones == 3
    assert parse(OVERLAID).regions.zones == 2


def test_an_unknown_environment_is_refused() -> None:
    assert only(OVERLAID, env="prd") == 'None None: there is no environment "prd" (did you mean "prod"?)'


def test_a_problem_in_an_overlay_points_into_it_even_when_it_is_not_used() -> None:
    text = SERVICE + "[env.prod.alb]\ninterval_s = 1\n"
    for env in (None, "prod"):
        assert only(text, env=env).startswith("5 env.prod.alb.interval_s: AWS allows 5 to 300 seconds")


def test_a_base_problem_that_the_overlay_repairs_is_gone() -> None:
    text = SERVICE + "[regions]\nzones = 9\n[env.prod.regions]\nzones = 3\n"
    assert only(text).startswith("5 regions.zones")
    assert parse(text, env="prod").regions.zones == 3


def test_environment_variables_at_the_top_are_explained() -> None:
    assert "[service.env]" in only(SERVICE + '[env]\nLOG = "info"\n')


# -------------------------------------------------------------------------------------------- files


def test_find_looks_upwards(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        manifest.find(below)
    assert caught.value.hint == "write one with: holdfast init"
    (tmp_path / "holdfast.toml").touch()
    assert manifest.find(below) == tmp_path / "holdfast.toml"


def test_load_names_the_file_and_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.toml"
    path.write_text(SERVICE, encoding="utf-8")
    assert manifest.load(path).folder == str(tmp_path)
    path.write_text("x = 1", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        manifest.load(path)
    assert {problem.file for problem in caught.value.problems} == {str(path)}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.toml"
    for spoil in (lambda: None, lambda: path.write_bytes(b"\xff"), lambda: (path.unlink(), path.mkdir())):
        spoil()
        with pytest.raises(InputError):
            manifest.load(path)


# -------------------------------------------------------------------------------------------- any input

WORDS = st.sampled_from(
    [*TABLES, "env", *(item.name for item in REGISTRY), "name", "app", "command", "names", "zones", "chain",
     "replicas", "min", "max", "pattern", "kind", "weights", "scale", "behaviors", "query", "throttle", "redirects"]
)  # fmt: skip
SCALARS = st.one_of(
    st.none().map(lambda _: "alb"), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), WORDS,
    st.dates(), st.sampled_from(["eu-west-1", "{port}", "a:b", "/", "fargate", "lambda", 3, 1, 0.5]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(WORDS, VALUES, max_size=6)


def dump(value: Any) -> str:
    """``value`` as inline TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool | float) else str(value)


def judge(text: str) -> None:
    """A manifest or a list of problems; anything else is a bug."""
    for env in (None, "prod"):
        outcome = accepted_or_problems(text, env)
        assert isinstance(outcome, Manifest) or (outcome and all(map(str, outcome)))


def accepted_or_problems(text: str, env: str | None) -> Manifest | tuple[Problem, ...]:
    try:
        return parse(text, env=env)
    except InputError as error:
        return error.problems


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
@example("a=" + "[" * 2000)
@example("service" + ".a" * 1500 + "=1")
@example("a = 1" + "0" * 5000)
@example("[[service]]")
@example('"" = 1')
def test_no_text_breaks_it(text: str) -> None:
    judge(text)


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_no_document_breaks_it(document: dict[str, Any], overlay: dict[str, Any]) -> None:
    lines = [
        f"{json.dumps(key)} = {dump(value)}" for key, value in {**document, "env": {"prod": overlay}}.items()
    ]
    judge("\n".join(lines))
    with_service = {"service": {"name": "a", "command": ["{port}"], **_table(document.get("service"))}}
    lines = [f"{json.dumps(key)} = {dump(value)}" for key, value in {**document, **with_service}.items()]
    judge("\n".join(lines))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
