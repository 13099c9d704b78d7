"""Routing decisions, rule by rule as the Route 53 Developer Guide words them.

Base of the page names below: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InputError
from holdfast.local.dns.distance import PLACES, distance_km, nearest_first
from holdfast.local.dns.zone import Alias, HostedZone, Query, Record, Routing, Status, answer, decide
from holdfast.local.dns.zones import hosted

ZONE = "example.com"


def all_but(*sick: str) -> Callable[[str], bool]:
    return lambda check_id: check_id not in sick


def values(
    zone: HostedZone, healthy: Callable[[str], bool], viewer: str | None = None
) -> set[tuple[str, ...]]:
    outcome = decide(zone, Query("api.example.com", "A", viewer), healthy)
    return {option.values for option in outcome.options}


def group(routing: Routing, **each: dict[str, Any]) -> HostedZone:
    """Records of one name; each is called, and checked, by its own key; 10.0.0.N is the address of the Nth."""
    records = [
        Record(
            "api.example.com",
            (f"10.0.0.{n}",),
            routing=routing,
            set_identifier=key,
            **{"health_check": key, **more},
        )
        for n, (key, more) in enumerate(each.items(), 1)
    ]
    return hosted(ZONE, records)


class TestFailover:
    """health-checks-how-route-53-chooses-records.html, "Failover records"."""

    zone = group(Routing.FAILOVER, first={"primary": True}, second={"primary": False})

    @pytest.mark.parametrize(
        ("sick", "answered"),
        [
            ((), "10.0.0.1"),
            (("first",), "10.0.0.2"),
            (("second",), "10.0.0.1"),
            (("first", "second"), "10.0.0.1"),
        ],
    )
    def test_primary_while_healthy_or_nothing_is(self, sick: tuple[str, ...], answered: str) -> None:
        assert values(self.zone, all_but(*sick)) == {(answered,)}

    def test_secondary_without_a_check_is_always_healthy(self) -> None:
        zone = group(
            Routing.FAILOVER, first={"primary": True}, second={"primary": False, "health_check": None}
        )
        assert values(zone, all_but("first", "second")) == {("10.0.0.2",)}

    def test_order_of_declaration_does_not_matter(self) -> None:
        zone = group(Routing.FAILOVER, second={"primary": False}, first={"primary": True})
        assert values(zone, all_but()) == {("10.0.0.2",)}


class TestLatency:
    """routing-policy-latency.html."""

    zone = group(
        Routing.LATENCY,
        eu={"region": "eu-west-1"},
        us={"region": "us-east-1"},
        ap={"region": "ap-northeast-1"},
    )

    @pytest.mark.parametrize(
        ("viewer", "answered"),
        [
            ("us-east-1", "10.0.0.2"),
            ("eu-central-1", "10.0.0.1"),
            ("ap-northeast-2", "10.0.0.3"),
            (None, "10.0.0.1"),
        ],
    )
    def test_nearest_region(self, viewer: str | None, answered: str) -> None:
        assert values(self.zone, all_but(), viewer) == {(answered,)}

    def test_next_nearest_when_unhealthy(self) -> None:
        assert values(self.zone, all_but("eu"), "eu-west-1") == {("10.0.0.2",)}

    def test_all_unhealthy_counts_as_all_healthy(self) -> None:
        assert values(self.zone, all_but("eu", "us", "ap"), "us-east-1") == {("10.0.0.2",)}

    def test_unknown_viewer_gets_its_own_region_or_the_declared_order(self) -> None:
        regions = ("moon-east-1", "eu-west-1", "us-east-1")
        assert nearest_first("mars-1", regions) == regions
        assert nearest_first("us-east-1", regions) == ("us-east-1", "eu-west-1", "moon-east-1")

    def test_distance_agrees_with_published_latencies(self) -> None:
        """One row of measured means in ms, acomputerscientistlearnsaws.blogspot.com/2017/04/aws-regions.html."""
        from_virginia = {
            "us-west-1": 72.7, "eu-west-1": 80.6, "us-west-2": 87.0, "eu-central-1": 88.7, "sa-east-1": 119.5,
            "ap-northeast-1": 145.3, "ap-northeast-2": 178.4, "ap-southeast-1": 216.7, "ap-southeast-2": 230.0,
        }  # fmt: skip
        pairs = [(a, b) for a in from_virginia for b in from_virginia if from_virginia[a] < from_virginia[b]]
        agreeing = [1 for a, b in pairs if distance_km("us-east-1", a) < distance_km("us-east-1", b)]
        assert len(agreeing) / len(pairs) > 0.85

    @given(st.sampled_from(sorted(PLACES)), st.sampled_from(sorted(PLACES)))
    def test_distance_is_symmetric_and_zero_only_at_home(self, one: str, other: str) -> None:
        assert distance_km(one, other) == pytest.approx(distance_km(other, one))
        assert (distance_km(one, other) < 1) == (one == other)
        assert distance_km(one, other) < 20_100


class TestWeighted:
    """routing-policy-weighted.html and "Weighted records that have a weight of 0"."""

    def shares(self, healthy: Callable[[str], bool], **weights: int) -> dict[str, float]:
        each: dict[str, dict[str, Any]] = {key: {"weight": weight} for key, weight in weights.items()}
        zone = group(Routing.WEIGHTED, **each)
        outcome = decide(zone, Query("api.example.com"), healthy)
        return {option.values[0]: round(option.share, 6) for option in outcome.options}

    def test_by_weight(self) -> None:
        assert self.shares(all_but(), a=3, b=1) == {"10.0.0.1": 0.75, "10.0.0.2": 0.25}

    def test_unhealthy_is_left_out_and_the_rest_keeps_its_proportions(self) -> None:
        assert self.shares(all_but("a"), a=3, b=2, c=1) == {"10.0.0.2": 0.666667, "10.0.0.3": 0.333333}

    def test_zero_weight_gets_nothing_while_a_weighted_one_is_healthy(self) -> None:
        assert self.shares(all_but("a"), a=5, b=1, c=0) == {"10.0.0.2": 1.0}

    def test_zero_weights_are_considered_when_all_others_are_unhealthy(self) -> None:
        assert self.shares(all_but("a"), a=5, b=0, c=0) == {"10.0.0.2": 0.5, "10.0.0.3": 0.5}
        assert self.shares(all_but("a", "b"), a=5, b=0, c=0) == {"10.0.0.3": 1.0}

    def test_all_zero_is_all_alike(self) -> None:
        assert self.shares(all_but(), a=0, b=0) == {"10.0.0.1": 0.5, "10.0.0.2": 0.5}

    def test_all_unhealthy_is_all_healthy(self) -> None:
        assert self.shares(all_but("a", "b", "c"), a=3, b=1, c=0) == {"10.0.0.1": 0.75, "10.0.0.2": 0.25}

    def test_drawn_with_these_shares(self) -> None:
        zone = group(Routing.WEIGHTED, a={"weight": 90}, b={"weight": 10})
        rng = random.Random(7)
        drawn = Counter(answer(zone, Query("api.example.com"), all_but(), rng).values[0] for _ in range(4000))
        assert drawn["10.0.0.2"] / 4000 == pytest.approx(0.1, abs=0.02)


class TestSeveralValues:
    """routing-policy-simple.html and routing-policy-multivalue.html."""

    def test_simple_returns_all_values_in_random_order(self) -> None:
        zone = hosted(ZONE, [Record("api.example.com", ("10.0.0.1", "10.0.0.2", "10.0.0.3"), ttl_s=30)])
        rng = random.Random(1)
        answers = [answer(zone, Query("API.example.com."), all_but(), rng) for _ in range(200)]
        assert {got.values for got in answers} == set(permutations(zone.groups["api.example.com"][0].values))
        assert {got.ttl_s for got in answers} == {30}

    def test_multivalue_leaves_out_unhealthy_records(self) -> None:
        zone = group(Routing.MULTIVALUE, a={}, b={}, c={})
        assert values(zone, all_but("b")) == {("10.0.0.1", "10.0.0.3")}
        assert values(zone, all_but("a", "b", "c")) == {("10.0.0.1", "10.0.0.2", "10.0.0.3")}

    def test_multivalue_answers_with_at_most_eight(self) -> None:
        zone = group(Routing.MULTIVALUE, **{f"n{n}": {} for n in range(12)})
        rng = random.Random(3)
        drawn = [answer(zone, Query("api.example.com"), all_but(), rng).values for _ in range(100)]
        assert {len(set(got)) for got in drawn} == {8}
        assert len({value for got in drawn for value in got}) == 12


def tree(evaluate: bool = True, region_check: str | None = None) -> HostedZone:
    """The tree of dns-failover-complex-configs.html: latency aliases over the addresses of each region."""
    return hosted(ZONE, [*_latency_aliases(evaluate, region_check), *_zone_addresses()])


def _latency_aliases(evaluate: bool, region_check: str | None) -> Iterable[Record]:
    for region in ("us-east-1", "ap-southeast-2"):
        alias = Alias(f"{region}.api.example.com", evaluate)
        check = region_check if region == "us-east-1" else None
        yield Record(
            "api.example.com",
            routing=Routing.LATENCY,
            region=region,
            set_identifier=region,
            alias=alias,
            health_check=check,
        )


def _zone_addresses() -> Iterable[Record]:
    for n, region in enumerate(("us-east-1", "ap-southeast-2"), 1):
        for zone in (1, 2):
            yield Record(
                f"{region}.api.example.com", (f"10.0.{n}.{zone}",), ttl_s=20,
                routing=Routing.MULTIVALUE, set_identifier=str(zone), health_check=f"{region}/{zone}",
            )  # fmt: skip


class TestAliasTree:
    """dns-failover-complex-configs.html."""

    def test_answers_with_the_targets_values_and_ttl(self) -> None:
        got = answer(
            tree(), Query("api.example.com", "A", "us-west-2"), all_but("us-east-1/2"), random.Random()
        )
        assert (got.values, got.ttl_s) == (("10.0.1.1",), 20)

    def test_shares_multiply_down_the_tree(self) -> None:
        """Region weights on top, as weighted alias records, and weights within one region."""
        top = {"eu": 3, "us": 1}
        aliases = [
            Record(
                "api.example.com",
                routing=Routing.WEIGHTED,
                set_identifier=r,
                weight=w,
                alias=Alias(f"{r}.example.com"),
            )
            for r, w in top.items()
        ]
        leaves = [
            Record(f"{r}.example.com", (f"10.0.{n}.{m}",), routing=Routing.WEIGHTED, set_identifier=str(m))
            for n, r in enumerate(top)
            for m in range(2)
        ]
        outcome = decide(hosted(ZONE, [*aliases, *leaves]), Query("api.example.com"), all_but())
        assert [option.share for option in outcome.options] == [0.375, 0.375, 0.125, 0.125]
        assert outcome.cumulative[-1] == pytest.approx(1.0)

    def test_backs_out_of_a_branch_without_healthy_records(self) -> None:
        assert values(tree(), all_but("us-east-1/1", "us-east-1/2"), "us-east-1") == {
            ("10.0.2.1", "10.0.2.2")
        }

    def test_a_failed_check_on_the_alias_closes_the_branch(self) -> None:
        assert values(tree(region_check="us"), all_but("us"), "us-east-1") == {("10.0.2.1", "10.0.2.2")}

    def test_without_evaluation_it_stays_in_the_branch(self) -> None:
        sick = all_but("us-east-1/1", "us-east-1/2")
        assert values(tree(evaluate=False), sick, "us-east-1") == {("10.0.1.1", "10.0.1.2")}

    def test_nothing_healthy_anywhere_still_answers(self) -> None:
        assert values(tree(), lambda _: False, "us-east-1") == {("10.0.1.1", "10.0.1.2")}


@given(
    st.sampled_from([Routing.WEIGHTED, Routing.LATENCY, Routing.FAILOVER, Routing.MULTIVALUE]),
    st.sets(st.sampled_from(["a", "b"])),
    st.integers(0, 255),
    st.sampled_from([None, "eu-west-1", "us-east-1"]),
)
def test_always_an_answer_and_never_an_unhealthy_one_beside_a_healthy_one(
    routing: Routing, sick: set[str], weight: int, viewer: str | None
) -> None:
    zone = group(
        routing,
        a={"primary": True, "region": "eu-west-1", "weight": weight},
        b={"primary": False, "region": "us-east-1", "weight": 1},
    )
    given_out = {value for option in values(zone, all_but(*sick), viewer) for value in option}
    assert given_out
    if len(sick) == 1:
        assert given_out == {"10.0.0.2" if sick == {"a"} else "10.0.0.1"}


class TestWhatThereIsNot:
    zone = hosted(ZONE, [Record("eu.api.example.com", ("10.0.0.1",))])

    @pytest.mark.parametrize(
        ("name", "qtype", "status"),
        [
            ("eu.api.example.com", "AAAA", Status.NODATA),
            ("api.example.com", "A", Status.NODATA),
            ("example.com", "A", Status.NODATA),
            ("example.com", "SOA", Status.AUTHORITY),
            ("us.api.example.com", "A", Status.NXDOMAIN),
            ("x.eu.api.example.com", "AAAA", Status.NXDOMAIN),
            ("example.org", "A", Status.REFUSED),
            ("notexample.com", "A", Status.REFUSED),
            ("", "A", Status.REFUSED),
        ],
    )
    def test_status(self, name: str, qtype: str, status: Status) -> None:
        assert decide(self.zone, Query(name, qtype), all_but()).status is status


def one(routing: Routing = Routing.SIMPLE, *, ip: str = "10.0.0.1", **more: Any) -> list[Record]:
    return [Record("a.example.com", (ip,), routing=routing, **{"set_identifier": "1", **more})]


def alias(name: str, target: str) -> Record:
    return Record(name, alias=Alias(target))


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ([Record("api.example.org", ("10.0.0.1",))], "not in the hosted zone"),
        ([Record("api.example.com")], "either values or an alias"),
        (one(alias=Alias("a.example.com")), "either values or an alias"),
        (one(ip="10.0.0.999"), "not an IPv4 address"),
        (one(ip="::1"), "not an IPv4 address"),
        ([alias("a.example.com", "gone.example.com")], "not in the zone"),
        ([Record("a..example.com", ("10.0.0.1",))], "not a domain name"),
        ([Record("ä.example.com", ("10.0.0.1",))], "not a domain name"),
        ([*one(), *one()], "2 simple records"),
        ([*one(), *one(Routing.WEIGHTED, set_identifier="2")], "mixes routing policies"),
        (one(ttl_s=-1), "TTL"),
        (one(Routing.WEIGHTED, weight=256), "weight 256"),
        (one(Routing.WEIGHTED, set_identifier=""), "set_identifier"),
        (one(Routing.LATENCY), "needs a region"),
        (
            [*one(Routing.LATENCY, region="r"), *one(Routing.LATENCY, region="r", set_identifier="2")],
            "one region",
        ),
        (one(Routing.FAILOVER, primary=False), "one primary"),
        ([*one(Routing.MULTIVALUE), *one(Routing.MULTIVALUE)], "set_identifier"),
        (
            [alias("a.example.com", "b.example.com"), alias("b.example.com", "a.example.com")],
            "back to itself",
        ),
        ([alias("a.example.com", "a.example.com")], "back to itself"),
    ],
)
def test_refuses_what_route_53_refuses(records: list[Record], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        hosted(ZONE, records)


def test_every_problem_at_once() -> None:
    with pytest.raises(InputError) as caught:
        hosted(ZONE, [Record("a.example.com"), Record("b.example.org", ("nonsense",))])
    assert len(caught.value.problems) == 3
