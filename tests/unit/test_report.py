"""The tree, the JSON and the picture of a topology."""

from __future__ import annotations

import dataclasses
import json
from xml.etree import ElementTree

import pytest

from holdfast import patterns, report
from holdfast.manifest import parse
from holdfast.model import Behaviour, Topology
from holdfast.report.svg import fit, wrap
from holdfast.report.words import of_group, seconds, size, span
from holdfast.topology import resolve

SERVICE = '[service]\nname = "orders"\ncommand = ["serve", "{port}"]\n'
SVG = "{http://www.w3.org/2000/svg}"


def of(text: str = "") -> Topology:
    return resolve(parse(SERVICE + text))


def then(topology: Topology, when: str) -> str:
    return "; ".join(item.then for item in report.implications(topology) if item.when == when)


# -------------------------------------------------------------------------------------------- what it means


def test_a_hung_replica_leaves_after_the_health_check() -> None:
    assert "5..12 s" in then(of(), "a replica hangs")
    slow = of("[alb]\ninterval_s = 30\ntimeout_s = 5\nunhealthy_threshold = 3\n")
    assert "60..95 s" in then(slow, "a replica hangs")


def test_who_notices_a_dead_replica_depends_on_the_platform() -> None:
    assert then(of(), "a replica dies").startswith(
        "the platform takes it out at once; another starts the program"
    )
    assert then(of('[compute]\npattern = "ec2"\n'), "a replica dies").startswith(
        "it gets requests for another 5..12 s"
    )
    unchecked = of('[compute]\npattern = "ec2"\n[entry]\nchain = ["apigateway"]\n')
    assert then(unchecked, "a replica dies").startswith("it keeps getting requests")


def test_a_lost_region_is_left_by_dns_and_by_the_cdn() -> None:
    cached = '[[cloudfront.behaviors]]\npath = "/api/catalogue/*"\n'
    text = then(of("[route53]\nttl_s = 60\nfailure_threshold = 2\n" + cached), "a region is lost")
    assert "10..86 s" in text  # (2 - 1) * 10 s at best; 2 * 10 + 6 + 60 s at worst
    assert "cloudfront repeats GET, HEAD, OPTIONS of cached paths elsewhere after up to 6 s" in text
    assert (
        then(of('[regions]\nnames = ["eu-west-1"]\n'), "a region is lost")
        == "nothing takes over: there is one region"
    )


def test_the_shortest_limit_on_the_way_answers_504() -> None:
    assert then(of(), "a request is slow") == "the client gets 504 after 29 s, from apigateway"
    assert "10 s, from cloudfront" in then(of("[cloudfront]\nread_timeout_s = 10\n"), "a request is slow")


def test_a_lost_zone_counts_the_replicas_that_are_left() -> None:
    assert then(of("[compute]\nreplicas = { min = 4 }\n"), "a zone is lost").startswith("2 of 4 replicas")


def test_functions_have_cold_starts_instead_of_replicas() -> None:
    found = of('[compute]\npattern = "lambda"\n')
    assert "cold start" in then(found, "no free environment")
    assert then(found, "a replica dies") == ""


# -------------------------------------------------------------------------------------------- tree


@pytest.mark.parametrize("name", patterns.NAMES)
def test_the_tree_names_every_region_zone_and_replica(name: str) -> None:
    topology = resolve(patterns.pattern(name))
    text = report.tree(topology)
    for region in topology.regions:
        assert region in text
        for zone in topology.zones[region]:
            (line,) = [line for line in text.splitlines() if f" {zone} " in f"{line} "]
            compute = topology.compute(region)
            here = [node.id.partition("/")[2] for node in compute.nodes if node.zone == zone]
            assert [word for word in line.split() if word.startswith(compute.component)] == here
    for note in topology.notes:
        assert note in text


def test_spot_replicas_and_weights_are_marked() -> None:
    text = report.tree(
        of('[compute]\nspot = 0.4\n[regions]\nrouting = "weighted"\nweights = { eu-west-1 = 7 }\n')
    )
    assert "ecs-3 (Spot)" in text
    assert "eu-west-1, weight 7" in text
    assert "us-east-1, weight 0" in text


def test_the_tree_has_no_trailing_blanks_and_no_colour() -> None:
    text = report.tree(of())
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


# -------------------------------------------------------------------------------------------- JSON


def test_json_holds_everything_and_survives_a_round_trip() -> None:
    topology = of('[compute]\nspot = 0.5\n[edgefunction]\nredirects = [{ from = "/a", to = "/b" }]\n')
    found = report.to_json(topology)
    assert json.loads(json.dumps(found)) == found
    assert [group["id"] for group in found["groups"]] == [group.id for group in topology.groups]
    assert [link["id"] for link in found["links"]] == [link.id for link in topology.links]
    fields = {field.name for field in dataclasses.fields(Behaviour)} - {"because"}
    assert all(set(group["behaviour"]) == fields for group in found["groups"])
    edge = next(group for group in found["groups"] if group["id"] == "edgefunction")
    assert edge["settings"]["redirects"][0]["from"] == "/a"


def test_json_says_where_each_number_comes_from() -> None:
    balancer = next(group for group in report.to_json(of())["groups"] if group["id"] == "alb.eu-west-1")
    assert balancer["because"]["health.interval_s"] == "setting:alb.interval_s"
    assert balancer["because"]["ttl_s"] == "fact:alb.dns_ttl"


def test_json_keeps_the_values_of_environment_variables_out() -> None:
    found = report.to_json(of('env = { TOKEN = "hunter2" }\n'))
    assert found["service"]["env"] == ["TOKEN"]
    assert "hunter2" not in json.dumps(found)


# -------------------------------------------------------------------------------------------- picture

SHAPES = {
    "default": "",
    "one region, six zones": '[regions]\nnames = ["us-east-1"]\nzones = 6\n[entry]\nchain = ["alb"]\n',
    "five regions": '[regions]\nnames = ["eu-west-1", "us-east-1", "sa-east-1", "ap-south-1", "eu-north-1"]\n',
    "many replicas": "[compute]\nreplicas = { min = 40, max = 50 }\nspot = 0.5\n",
    "functions": '[compute]\npattern = "lambda"\n',
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_the_picture_is_well_formed_and_stays_on_its_canvas(text: str) -> None:
    topology = of(text)
    root = ElementTree.fromstring(report.graph_svg(topology))
    assert root.get("width") == "1000"
    height = float(root.get("height", "0"))
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("class") != "page":
            x, y, width, tall = (float(rect.get(key, "nan")) for key in ("x", "y", "width", "height"))
            assert 0 <= x <= x + width <= 1000
            assert 0 <= y <= y + tall <= height
    words = {element.text for element in root.iter(f"{SVG}text")}
    assert {*topology.regions, *(zone for zones in topology.zones.values() for zone in zones)} <= words


def test_the_picture_shows_each_replica_once_a_region() -> None:
    root = ElementTree.fromstring(report.graph_svg(of()))
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert [words.count(f"ecs-{i}") for i in (1, 2, 3)] == [2, 2, 2]
    assert {"1st choice", "2nd choice"} <= set(words)


def test_the_picture_works_on_dark_screens_and_needs_nothing_from_elsewhere() -> None:
    text = report.graph_svg(of())
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_markup_in_a_command_is_text() -> None:
    topology = of()
    spoiled = dataclasses.replace(topology, domain="<script>&")
    assert "<script>" not in report.graph_svg(spoiled)


# -------------------------------------------------------------------------------------------- words


def test_numbers_carry_units() -> None:
    assert (seconds(5.0), seconds(1.5), seconds(0.001), seconds(0)) == ("5 s", "1.5 s", "1 ms", "0 s")
    assert (span(5, 12), span(5, 5)) == ("5..12 s", "5 s")
    assert (size(10 * 1024 * 1024), size(20 * 1024), size(1500)) == ("10 MiB", "20 KiB", "1500 bytes")


def test_a_balancer_without_cross_zone_says_so() -> None:
    assert "each zone serves itself" in of_group(of("[alb]\ncross_zone = false\n").group("alb.eu-west-1"))


def test_text_is_cut_or_wrapped_to_its_room() -> None:
    assert fit("short", 200) == "short"
    assert fit("x" * 100, 64).endswith("…")
    assert len(fit("x" * 100, 64)) <= 10
    assert all(len(line) <= 10 for line in wrap("one two three four five", 64))
