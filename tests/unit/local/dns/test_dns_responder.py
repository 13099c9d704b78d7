"""Packets in, packets out: what is answered, what is kept, and that nothing can break it."""

import random
from collections.abc import Iterator
from typing import Any

import dnslib
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.local.dns import wire
from holdfast.local.dns.responder import CACHE_ENTRIES, Responder
from holdfast.local.dns.zone import Record, Routing
from holdfast.local.dns.zones import hosted

SICK: set[str] = set()


def latency(region: str, ip: str) -> Record:
    return Record(
        "api.example.com",
        (ip,),
        routing=Routing.LATENCY,
        region=region,
        set_identifier=region,
        health_check=region,
    )


ZONE = hosted(
    "example.com",
    [
        latency("eu-west-1", "10.0.1.1"),
        latency("us-east-1", "10.0.2.1"),
        Record("many.example.com", tuple(f"10.1.0.{n}" for n in range(60))),
        Record("two.example.com", ("10.2.0.1", "10.2.0.2"), ttl_s=5),
    ],
)
PLACES = {"127.64.1.0": "eu-west-1", "127.64.2.0": "us-east-1", "127.64.2.9": "us-east-1"}


@pytest.fixture
def responder() -> Iterator[Responder]:
    SICK.clear()
    yield Responder(ZONE, lambda check: check not in SICK, rng=random.Random(5), viewer=PLACES.get)
    SICK.clear()


def ask(
    responder: Responder, name: str, qtype: str = "A", source: str = "127.0.0.1", **how: object
) -> dnslib.DNSRecord:
    question = dnslib.DNSRecord.question(name, qtype)
    if how.get("subnet") or how.get("edns"):
        subnet = how.get("subnet")
        options = (
            [dnslib.EDNSOption(8, bytes([0, 1, 24, 0, *map(int, str(subnet).split(".")[:3])]))]
            if subnet
            else []
        )
        question.add_ar(dnslib.EDNS0(udp_len=how.get("edns", 1232), opts=options))
    packed = responder.respond(bytes(question.pack()), source, tcp=bool(how.get("tcp")))
    assert packed is not None
    reply = dnslib.DNSRecord.parse(packed)
    assert reply.header.id == question.header.id
    return reply


def addresses(reply: dnslib.DNSRecord) -> list[str]:
    return [str(rr.rdata) for rr in reply.rr]


def test_an_answer_is_authoritative_and_keeps_the_questions_spelling(responder: Responder) -> None:
    reply = ask(responder, "tWo.Example.COM")
    assert sorted(addresses(reply)) == ["10.2.0.1", "10.2.0.2"]
    assert {(str(rr.rname), rr.ttl) for rr in reply.rr} == {("tWo.Example.COM.", 5)}
    assert (reply.header.aa, reply.header.ra, reply.header.rd, reply.header.qr) == (1, 0, 1, 1)


@pytest.mark.parametrize(
    ("name", "qtype", "rcode"),
    [
        ("two.example.com", "AAAA", "NOERROR"),
        ("example.com", "TXT", "NOERROR"),
        ("none.example.com", "A", "NXDOMAIN"),
    ],
)
def test_negative_answers_carry_the_soa(responder: Responder, name: str, qtype: str, rcode: str) -> None:
    """https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/SOA-NSrecords.html: cached for 900 s."""
    reply = ask(responder, name, qtype)
    assert (dnslib.RCODE[reply.header.rcode], reply.rr) == (rcode, [])
    (soa,) = reply.auth
    assert (str(soa.rname), soa.rtype, min(soa.ttl, soa.rdata.times[4])) == (
        "example.com.",
        dnslib.QTYPE.SOA,
        900,
    )


def test_other_zones_are_refused(responder: Responder) -> None:
    reply = ask(responder, "example.org")
    assert (reply.header.rcode, reply.header.aa, reply.auth) == (dnslib.RCODE.REFUSED, 0, [])


def test_health_shows_after_refresh(responder: Responder) -> None:
    assert addresses(ask(responder, "api.example.com")) == ["10.0.1.1"]
    SICK.add("eu-west-1")
    responder.refresh()
    assert addresses(ask(responder, "api.example.com")) == ["10.0.2.1"]


def test_a_new_zone_shows_after_refresh(responder: Responder) -> None:
    ask(responder, "two.example.com")
    responder.refresh(hosted("example.com", [Record("two.example.com", ("10.9.9.9",))]))
    assert addresses(ask(responder, "two.example.com")) == ["10.9.9.9"]


def test_packed_answers_are_kept_but_still_shuffled(
    responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs: list[bytes] = []
    pack = wire.pack

    def counting(*args: Any) -> bytes:
        packs.append(pack(*args))
        return packs[-1]

    monkeypatch.setattr(wire, "pack", counting)
    first = {addresses(ask(responder, "two.example.com"))[0] for _ in range(60)}
    assert first == {"10.2.0.1", "10.2.0.2"}
    assert len(packs) == 2


def test_random_names_cannot_fill_the_memory(responder: Responder) -> None:
    for n in range(CACHE_ENTRIES + 10):
        responder.respond(wire.question(f"{n}.example.com"), "127.0.0.1")
    assert len(responder._known) <= CACHE_ENTRIES


def test_the_viewer_is_where_the_packet_or_its_client_subnet_comes_from(responder: Responder) -> None:
    """https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy-edns0.html"""
    assert addresses(ask(responder, "api.example.com", source="127.64.2.9")) == ["10.0.2.1"]
    reply = ask(responder, "api.example.com", source="127.64.1.0", subnet="127.64.2.0")
    assert addresses(reply) == ["10.0.2.1"]
    (option,) = reply.ar[0].rdata
    assert option.data[2:4] == bytes([24, 24]), "RFC 7871: the scope says for whom the answer holds"


def test_long_answers_are_truncated_over_udp_only(responder: Responder) -> None:
    short = ask(responder, "many.example.com")
    assert (short.header.tc, short.rr) == (1, [])
    assert len(ask(responder, "many.example.com", edns=4096).rr) == 60
    whole = ask(responder, "many.example.com", tcp=True)
    assert (whole.header.tc, len(whole.rr)) == (0, 60)


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (b"\x12\x34\x01\x00\x00\x01" + bytes(6), dnslib.RCODE.FORMERR),  # says one question, has none
        (b"\x12\x34\x01\x00\x00\x00" + bytes(6), dnslib.RCODE.FORMERR),  # no question at all
        (b"\x12\x34\x28\x00\x00\x00" + bytes(6), dnslib.RCODE.NOTIMP),  # an UPDATE
        (bytes(dnslib.DNSRecord.question("version.bind", "TXT", "CH").pack()), dnslib.RCODE.REFUSED),
    ],
)
def test_errors_are_told(responder: Responder, packet: bytes, rcode: int) -> None:
    reply = responder.respond(packet, "127.0.0.1")
    assert reply is not None
    assert dnslib.DNSRecord.parse(reply).header.rcode == rcode
    assert reply[:2] == packet[:2]


@pytest.mark.parametrize("packet", [b"", b"\x12\x34", b"\x12\x34\x80\x00" + bytes(8)])
def test_replies_and_scraps_meet_silence(responder: Responder, packet: bytes) -> None:
    assert responder.respond(packet, "127.0.0.1") is None


def test_a_dot_inside_a_label_is_not_a_separator(responder: Responder) -> None:
    packet = dnslib.DNSRecord.question("x.example.com")
    packet.q.qname = dnslib.DNSLabel([b"two.example.com"])
    reply = dnslib.DNSRecord.parse(responder.respond(bytes(packet.pack()), "127.0.0.1"))
    assert reply.header.rcode == dnslib.RCODE.REFUSED


QUESTION = wire.question("two.example.com")


@given(
    st.one_of(
        st.binary(max_size=80),
        st.binary(min_size=10, max_size=60).map(lambda tail: b"\x12\x34\x01\x00\x00\x01" + tail),
        st.binary(max_size=60).map(lambda tail: QUESTION[:10] + b"\x00\x01" + QUESTION[12:] + tail),
        st.binary(max_size=40).map(
            lambda rd: QUESTION[:10] + b"\x00\x01" + QUESTION[12:] + b"\x00\x00\x29" + rd
        ),
        st.tuples(st.integers(0, len(QUESTION) - 1), st.integers(0, 255)).map(
            lambda at: QUESTION[: at[0]] + bytes([at[1]]) + QUESTION[at[0] + 1 :]
        ),
    )
)
@example(
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"
)  # a name that points at itself
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_packet_can_break_it(responder: Responder, packet: bytes) -> None:
    reply = responder.respond(packet, "127.0.0.1")
    if reply is not None:
        assert reply[:2] == packet[:2]
        assert reply[2] & 0x80, "what is sent is a reply"
        assert len(reply) <= wire.MAX_UDP_BYTES
        dnslib.DNSRecord.parse(reply)
