"""Loopback networks and ports. Everything here binds real sockets on 127.0.0.0/8."""

import os
import socket
import subprocess
import sys

import pytest

from holdfast.errors import EnvironmentProblem
from holdfast.local import addresses
from holdfast.local.addresses import Network, claim, free_port, free_port_on_all, require

OCTETS = range(190, 200)
"""Outside of what real runs use, so these tests and a running system do not meet."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")


def test_every_place_has_its_own_address() -> None:
    network = Network(64)
    ips = network.ips([3, 3])
    assert len(set(ips)) == len(ips) == 3 + 6 + 2
    assert network.zone_ip(1, 2) == "127.64.2.3"
    assert network.regional_ip(0) == "127.64.1.100"


def test_an_address_tells_its_region() -> None:
    network = Network(64)
    assert [network.region_of(network.zone_ip(region, 2)) for region in range(3)] == [0, 1, 2]
    assert network.region_of(network.regional_ip(1)) == 1
    assert [network.region_of(ip) for ip in (network.edge_ip, "127.65.1.1", "127.0.0.1", "10.64.1.1")] == [
        None
    ] * 4


def test_too_many_zones_is_said() -> None:
    with pytest.raises(EnvironmentProblem, match="99 zones"):
        Network(64).zone_ip(0, 99)


def test_two_runs_get_two_networks_and_a_released_one_is_free_again() -> None:
    with claim(octets=OCTETS) as one, claim(octets=OCTETS) as other:
        taken = {one.network, other.network}
        assert len(taken) == 2
    with claim(octets=OCTETS) as again:
        assert again.network in taken


def test_a_dead_run_frees_its_network() -> None:
    """The kernel closes the sentinel, whatever the process died of."""
    claims = f"from holdfast.local.addresses import claim; held = claim(octets=[{OCTETS[0]}])"
    waits = "print('held', flush=True); input()"
    argv = [sys.executable, "-c", f"{claims}; {waits}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(EnvironmentProblem, match=rf"in use .*pid {other.pid}"):
            claim(octets=OCTETS[:1])
        other.kill()
    claim(octets=OCTETS[:1]).release()


def test_pick_leaves_the_network_to_the_caller() -> None:
    picked = Network.pick([3, 3])
    with socket.create_server((picked.zone_ip(1, 2), 0)):
        assert picked.octet in addresses.OCTETS


def test_the_preferred_port_if_it_is_free() -> None:
    port = free_port("127.190.1.1")
    assert free_port("127.190.1.1", port) == port


def test_a_taken_port_names_who_holds_it() -> None:
    with socket.create_server(("127.190.1.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(
            EnvironmentProblem, match=rf"port {port} on 127.190.1.1 is taken by .*pid {os.getpid()}"
        ):
            free_port("127.190.1.1", port)
        assert free_port("127.190.1.2", port) == port


def test_a_wildcard_listener_takes_the_port_everywhere() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"pid {os.getpid()}"):
            free_port("127.190.1.1", port)


def test_one_port_for_many_addresses() -> None:
    hosts = [f"127.190.1.{n}" for n in range(1, 7)]
    port = free_port_on_all(hosts)
    with socket.create_server((hosts[-1], port)), pytest.raises(EnvironmentProblem, match=hosts[-1]):
        free_port_on_all(hosts, port)


def test_ports_given_out_before_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_port("127.190.1.1"), free_port("127.190.1.1")
    offered = iter([first, second])
    monkeypatch.setattr(addresses, "_any_port", lambda host: next(offered))
    assert free_port_on_all(["127.190.1.1"], exclude=[first]) == second


def test_a_foreign_address_is_explained() -> None:
    with pytest.raises(EnvironmentProblem, match=r"no loopback address 192.0.2.7 \(nor 1 others") as caught:
        require(["127.0.0.1", "192.0.2.7", "192.0.2.8"])
    assert caught.value.hint is not None
    assert "192.0.2.7 192.0.2.8" in caught.value.hint


def test_macos_gets_its_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "ifconfig lo0 alias $ip up" in addresses.alias_hint(["127.64.1.1"])
