"""The loopback addresses and ports of one run.

::

    127.<octet>.<region>.<zone>   a zone's load balancer node
    127.<octet>.<region>.100      a region's managed services
    127.<octet>.0.2, .3, .53      kept for the edge, the console and the name server

A person's browser and resolver find the edge and the name server on 127.0.0.1.

Regions and zones count from 1 in addresses and from 0 in calls. Each run has an octet of its own, so two runs
never meet. A run holds its octet with a listening socket, which the kernel takes back whatever ends the run.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import psutil

from holdfast.errors import EnvironmentProblem

OCTETS = range(64, 127)
SENTINEL_PORT = 17053
"""Below the ephemeral ranges of Linux (32768) and macOS (49152), so no outgoing connection can hold it."""
MAX_REGIONS = 99
MAX_ZONES = 99
REGIONAL = 100
PORT_ATTEMPTS = 50
BOUND = (psutil.CONN_LISTEN, psutil.CONN_NONE)
"""A listening TCP socket, and any UDP socket."""


@dataclass(frozen=True, slots=True)
class Network:
    """127.<octet>.0.0/16."""

    octet: int

    @classmethod
    def pick(cls, zones: Sequence[int] = ()) -> Network:
        """The first network no other run holds. ``zones``: how many zones each region has, for the hints.

        Another run may take it a moment later; the process that runs it calls :func:`claim` instead.

        Raises:
            EnvironmentProblem: all are in use, or this system has only 127.0.0.1.
        """
        with claim(zones) as lease:
            return lease.network

    def zone_ip(self, region: int, zone: int) -> str:
        """The load balancer node of a zone; both indices from 0."""
        if not (0 <= region < MAX_REGIONS and 0 <= zone < MAX_ZONES):
            raise EnvironmentProblem(
                f"one machine has addresses for {MAX_REGIONS} regions of {MAX_ZONES} zones each"
            )
        return f"127.{self.octet}.{region + 1}.{zone + 1}"

    def regional_ip(self, region: int) -> str:
        """A region's managed services, which belong to no zone; index from 0."""
        return f"127.{self.octet}.{region + 1}.{REGIONAL}"

    @property
    def edge_ip(self) -> str:
        """The CDN's edge."""
        return f"127.{self.octet}.0.2"

    @property
    def console_ip(self) -> str:
        """The console and whatever else controls the run."""
        return f"127.{self.octet}.0.3"

    @property
    def dns_ip(self) -> str:
        """The name server."""
        return f"127.{self.octet}.0.53"

    def ips(self, zones: Sequence[int]) -> tuple[str, ...]:
        """Every address of a run with ``zones[i]`` zones in region ``i``."""
        by_zone = (self.zone_ip(region, zone) for region, count in enumerate(zones) for zone in range(count))
        regional = (self.regional_ip(region) for region in range(len(zones)))
        return (self.edge_ip, self.console_ip, self.dns_ip, *by_zone, *regional)

    def region_of(self, ip: str) -> int | None:
        """The index of the region an address is in; ``None`` outside of every region."""
        parts = ipaddress.IPv4Address(ip).packed
        return parts[2] - 1 if parts[:2] == bytes([127, self.octet]) and parts[2] else None


@dataclass(frozen=True, slots=True)
class Lease:
    """A network held by this process until ``release`` or the end of a ``with`` block."""

    network: Network
    sentinel: socket.socket

    def release(self) -> None:
        """Let another run have it."""
        self.sentinel.close()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def claim(zones: Sequence[int] = (), octets: Iterable[int] = OCTETS) -> Lease:
    """Hold the first free network of ``octets``, with every address of ``zones`` usable.

    Raises:
        EnvironmentProblem: all are in use, or this system does not have the addresses.
    """
    tried = [Network(octet) for octet in octets]
    for network in tried:
        require(network.ips(zones))
        sentinel = _listen(network.dns_ip, SENTINEL_PORT)
        if sentinel is not None:
            return Lease(network, sentinel)
    who = holder(tried[-1].dns_ip, SENTINEL_PORT)
    raise EnvironmentProblem(
        f"every loopback network is in use (port {SENTINEL_PORT} is taken by {who})",
        hint="stop a running system with `holdfast down`",
    )


def require(ips: Sequence[str]) -> None:
    """Check that a socket can be bound to each address.

    Raises:
        EnvironmentProblem: names those that cannot and the command that adds them.
    """
    missing = [ip for ip in ips if not _exists(ip)]
    if missing:
        raise EnvironmentProblem(
            f"this system has no loopback address {missing[0]}"
            + (f" (nor {len(missing) - 1} others Holdfast needs)" if missing[1:] else ""),
            hint=alias_hint(missing),
        )


def alias_hint(ips: Sequence[str]) -> str:
    """The command that gives this system the addresses, until it restarts."""
    if sys.platform == "darwin":
        return f"sudo sh -c 'for ip in {' '.join(ips)}; do ifconfig lo0 alias $ip up; done'"
    return f"sudo sh -c 'for ip in {' '.join(ips)}; do ip address add $ip/8 dev lo; done'"


def free_port(host: str, preferred: int | None = None) -> int:
    """``preferred`` if nothing listens there, else a problem; any free TCP port for 0 or ``None``.

    Raises:
        EnvironmentProblem: the preferred port is taken or not allowed; names the port and who holds it.
    """
    return free_port_on_all([host], preferred)


def free_port_on_all(
    hosts: Sequence[str], preferred: int | None = None, exclude: Collection[int] = ()
) -> int:
    """One TCP port that is free on every address of ``hosts``, never one of ``exclude``.

    Raises:
        EnvironmentProblem: as for :func:`free_port`.
    """
    require(hosts)
    if preferred:
        for host in hosts:
            _check(host, preferred)
        return preferred
    for _ in range(PORT_ATTEMPTS):
        port = _any_port(hosts[0])
        if port not in exclude and all(_is_free(host, port) for host in hosts[1:]):
            return port
    raise EnvironmentProblem(
        f"no TCP port is free on all of {', '.join(hosts)}", hint="stop what listens there"
    )


def holder(host: str, port: int) -> str:
    """Who listens on a port, TCP or UDP: ``nginx (pid 812)``, or "another program" where the system will not say."""
    try:
        taken = [c for c in psutil.net_connections("inet") if c.laddr and c.laddr.port == port]
        pids = [c.pid for c in taken if c.laddr and c.status in BOUND and _covers(c.laddr.ip, host)]
        pid = next(pid for pid in pids if pid is not None)
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except (psutil.Error, OSError, StopIteration):
        return "another program"


def _covers(bound: str, host: str) -> bool:
    return bound == host or "0.0.0.0" in (bound, host) or bound in ("::", f"::ffff:{host}")


def _check(host: str, port: int) -> None:
    try:
        sentinel = _listen(host, port)
    except PermissionError as error:
        raise EnvironmentProblem(
            f"port {port} on {host} is not permitted", hint="ports below 1024 need root; choose a higher one"
        ) from error
    if sentinel is None:
        raise EnvironmentProblem(
            f"port {port} on {host} is taken by {holder(host, port)}", hint="stop it or choose another port"
        )
    sentinel.close()


def _is_free(host: str, port: int) -> bool:
    sentinel = _listen(host, port)
    if sentinel:
        sentinel.close()
    return sentinel is not None


def _any_port(host: str) -> int:
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


def _exists(ip: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True


def _listen(host: str, port: int) -> socket.socket | None:
    """A listening socket, ``None`` where the port is taken. Listening, since two mere binds may coexist."""
    try:
        return socket.create_server((host, port), backlog=1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        raise
