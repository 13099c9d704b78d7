"""DNS packets: the only module that knows dnslib.

Answers are authoritative (AA), never recursive. EDNS (RFC 6891) is honoured: the client's UDP size, and its
client subnet (RFC 7871), which Route 53 uses to find the viewer's place
(https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy-edns0.html).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from dnslib import (
    EDNS0,
    QTYPE,
    RCODE,
    RR,
    SOA,
    A,
    DNSHeader,
    DNSRecord,
    EDNSOption,
)

from holdfast.local.dns.zone import Answer, HostedZone, Status

HEADER_BYTES = 12
PLAIN_UDP_BYTES = 512
MAX_UDP_BYTES = 1232
"""What fits an unfragmented packet on any network (https://www.dnsflagday.net/2020/)."""
CLIENT_SUBNET = 8
CLASS_IN, CLASS_ANY = 1, 255
RCODES = {Status.NXDOMAIN: RCODE.NXDOMAIN, Status.REFUSED: RCODE.REFUSED}
SOA_TTL_S = 900
SOA_TIMES_S = (7200, 900, 1209600, 86400)
"""Refresh, retry, expire, minimum; with the TTL above, negative answers are cached for 900 s.
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/SOA-NSrecords.html"""


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed question. ``subnet``: the address the client asks for; ``udp_bytes``: what it can take."""

    packet: Any
    name: str
    qtype: str
    subnet: str | None
    udp_bytes: int
    edns: Any


class Unanswerable(Exception):
    """No question we answer. ``reply`` is the error packet to send, ``None`` where silence is right."""

    def __init__(self, reply: bytes | None) -> None:
        super().__init__("malformed or unknown DNS request")
        self.reply = reply


def parse(data: bytes) -> Request:
    """The question in a packet.

    Raises:
        Unanswerable: it is malformed, not a query, or of a kind this server does not know.
    """
    if len(data) < HEADER_BYTES or data[2] & 0x80:
        raise Unanswerable(None)  # an answer to an answer could go back and forth for ever
    if (data[2] >> 3) & 0xF:
        raise Unanswerable(_error(data, RCODE.NOTIMP))
    try:
        request = _request(DNSRecord.parse(data))
    except Exception:  # dnslib lets ValueError, struct.error and more out of hostile bytes
        raise Unanswerable(_error(data, RCODE.FORMERR)) from None
    if request.packet.q.qclass not in (CLASS_IN, CLASS_ANY):
        raise Unanswerable(_error(data, RCODE.REFUSED))
    return request


def _request(packet: Any) -> Request:
    (question,) = packet.questions
    (edns,) = [extra for extra in packet.ar if extra.rtype == QTYPE.OPT] or [None]
    return Request(
        packet=packet,
        name=".".join(label.decode("ascii").replace(".", r"\.") for label in question.qname.label),
        qtype=QTYPE.get(question.qtype),
        subnet=edns and _subnet(edns),
        udp_bytes=max(PLAIN_UDP_BYTES, min(edns.edns_len, MAX_UDP_BYTES)) if edns else PLAIN_UDP_BYTES,
        edns=edns,
    )


def _subnet(edns: Any) -> str | None:
    for option in edns.rdata:
        if option.code == CLIENT_SUBNET and option.data[:2] == b"\x00\x01":
            return str(ipaddress.IPv4Address(bytes(option.data[4:8]).ljust(4, b"\x00")))
    return None


def pack(request: Request, answer: Answer, zone: HostedZone) -> bytes:
    """The whole reply, of any size."""
    reply = request.packet.reply(ra=0)
    reply.header.rcode = RCODES.get(answer.status, RCODE.NOERROR)
    for value in answer.values:
        reply.add_answer(RR(request.packet.q.qname, QTYPE.A, rdata=A(value), ttl=answer.ttl_s))
    if answer.status is Status.AUTHORITY:
        reply.add_answer(_soa(zone))
    elif answer.status in (Status.NODATA, Status.NXDOMAIN):
        reply.add_auth(_soa(zone))
    elif answer.status is Status.REFUSED:
        reply.header.aa = 0
    if request.edns:
        reply.add_ar(_edns(request.edns))
    return bytes(reply.pack())


def truncated(request: Request) -> bytes:
    """The reply that sends the client to TCP."""
    reply = request.packet.reply(ra=0)
    reply.header.tc = 1
    return bytes(reply.pack())


def _soa(zone: HostedZone) -> Any:
    times = (zone.serial, *SOA_TIMES_S)
    return RR(
        zone.name, QTYPE.SOA, rdata=SOA(f"ns.{zone.name}", f"hostmaster.{zone.name}", times), ttl=SOA_TTL_S
    )


def _edns(asked: Any) -> Any:
    subnets = [
        EDNSOption(CLIENT_SUBNET, bytes([*option.data[:3], option.data[2], *option.data[4:]]))
        for option in asked.rdata
        if option.code == CLIENT_SUBNET and len(option.data) >= 4
    ]
    return EDNS0(udp_len=MAX_UDP_BYTES, opts=subnets)


def _error(data: bytes, rcode: int) -> bytes:
    header = DNSHeader(id=int.from_bytes(data[:2]), bitmap=int.from_bytes(data[2:4]), qr=1, ra=0, rcode=rcode)
    return bytes(DNSRecord(header).pack())


def question(name: str) -> bytes:
    """A packet that asks for the A records of ``name``."""
    return bytes(DNSRecord.question(name).pack())


def is_truncated(data: bytes) -> bool:
    """Whether a reply carries the TC flag: ask again over TCP."""
    return len(data) >= HEADER_BYTES and bool(data[2] & 0x02)


def read_answer(data: bytes) -> tuple[str, list[str], int]:
    """Response code, IPv4 addresses and the smallest TTL (seconds; 0 without addresses) of a reply.

    Raises:
        ValueError: it is not a DNS packet.
    """
    try:
        reply = DNSRecord.parse(data)
    except Exception as error:  # as in parse()
        raise ValueError(f"not a DNS reply: {error}") from error
    found = [rr for rr in reply.rr if rr.rtype == QTYPE.A]
    return (
        RCODE.get(reply.header.rcode),
        [str(rr.rdata) for rr in found],
        min((rr.ttl for rr in found), default=0),
    )
