"""The local certificate authority: what it signs, what it keeps, what it refuses."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from holdfast.errors import EnvironmentProblem
from holdfast.local import certs
from holdfast.local.certs import Certificates

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def load(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def names_in(made: Certificates) -> tuple[list[str], list[IPv4Address]]:
    names = load(made.cert_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName), names.get_values_for_type(x509.IPAddress)


def verify(made: Certificates, subject: x509.GeneralName, at: datetime = NOW) -> None:
    """As a browser would that trusts the authority."""
    builder = PolicyBuilder().store(Store([load(made.ca_path)])).time(at)
    assert isinstance(subject, x509.DNSName | x509.IPAddress)
    builder.build_server_verifier(subject).verify(load(made.cert_path), [])


def test_a_client_that_trusts_the_authority_trusts_the_edge(tmp_path: Path) -> None:
    made = certs.ensure(tmp_path, ["orders.test", "127.64.0.2"], NOW)
    verify(made, x509.DNSName("localhost"))
    verify(made, x509.DNSName("orders.test"))
    verify(made, x509.IPAddress(IPv4Address("127.64.0.2")))
    with pytest.raises(VerificationError):
        verify(made, x509.DNSName("other.test"))


def test_the_key_belongs_to_the_certificate_and_to_nobody_else(tmp_path: Path) -> None:
    made = certs.ensure(tmp_path / "ca", [], NOW)
    key = serialization.load_pem_private_key(Path(made.key_path).read_bytes(), None)
    assert key.public_key() == load(made.cert_path).public_key()
    for path, mode in (
        (made.key_path, 0o600),
        (str(tmp_path / "ca/ca.key"), 0o600),
        (str(tmp_path / "ca"), 0o700),
    ):
        assert stat.S_IMODE(os.stat(path).st_mode) == mode


def test_the_authority_cannot_sign_for_the_world(tmp_path: Path) -> None:
    made = certs.ensure(tmp_path, ["api.example.com", "10.0.0.1", "shop.internal"], NOW)
    assert made.left_out == ("api.example.com", "10.0.0.1")
    assert names_in(made) == (["localhost", "shop.internal"], [IPv4Address("127.0.0.1")])
    constraints = load(made.ca_path).extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    permitted = {str(name.value) for name in constraints.value.permitted_subtrees or []}
    assert permitted == {"localhost", "test", "internal", "127.0.0.0/8"}


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("localhost", True),
        ("a.b.test", True),
        ("127.9.9.9", True),
        ("test.com", False),
        ("mytest", False),
        ("::1", False),
    ],
)
def test_which_names_are_local(name: str, local: bool) -> None:
    assert certs.is_local(name) is local


def test_nothing_is_issued_twice_without_need(tmp_path: Path) -> None:
    first = certs.ensure(tmp_path, ["Orders.test.", "orders.test"], NOW)
    second = certs.ensure(tmp_path, ["orders.test"], NOW + timedelta(days=300))
    assert first == second
    assert load(first.cert_path).not_valid_before_utc < NOW


def test_other_names_get_their_own_certificate_of_the_same_authority(tmp_path: Path) -> None:
    one = certs.ensure(tmp_path, ["one.test"], NOW)
    authority = Path(one.ca_path).read_bytes()
    two = certs.ensure(tmp_path, ["two.test"], NOW)
    assert one.cert_path != two.cert_path
    assert Path(two.ca_path).read_bytes() == authority
    verify(one, x509.DNSName("one.test"))
    verify(two, x509.DNSName("two.test"))


def test_a_certificate_is_renewed_before_it_expires_and_the_authority_stays(tmp_path: Path) -> None:
    old = load(certs.ensure(tmp_path, [], NOW).cert_path)
    later = NOW + certs.LEAF_LIFE - certs.RENEW_BEFORE
    renewed = certs.ensure(tmp_path, [], later)
    assert load(renewed.cert_path).serial_number != old.serial_number
    verify(renewed, x509.DNSName("localhost"), later)
    assert load(renewed.ca_path).not_valid_before_utc < NOW


def test_an_old_authority_is_replaced_with_everything_it_signed(tmp_path: Path) -> None:
    old = load(certs.ensure(tmp_path, [], NOW).ca_path)
    later = NOW + certs.AUTHORITY_LIFE - timedelta(days=100)
    made = certs.ensure(tmp_path, [], later)
    assert load(made.ca_path).serial_number != old.serial_number
    verify(made, x509.DNSName("localhost"), later)


def test_runs_that_start_together_share_one_authority(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: certs.ensure(tmp_path, [f"{n}.test"], NOW), range(8)))
    for n, one in enumerate(made):
        verify(one, x509.DNSName(f"{n}.test"))


def test_foreign_files_are_a_problem_with_a_way_out(tmp_path: Path) -> None:
    certs.ensure(tmp_path, [], NOW)
    (tmp_path / "ca.key").write_text("not a key")
    with pytest.raises(EnvironmentProblem) as caught:
        certs.ensure(tmp_path, [], NOW)
    assert caught.value.hint is not None
    assert "delete" in caught.value.hint
