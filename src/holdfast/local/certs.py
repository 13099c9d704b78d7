"""The certificate of the local edge, signed by a certificate authority that exists on this machine only.

The authority is made once and kept, so that a person can trust it once. It may sign nothing but local names
(RFC 5280 name constraints): a stolen key of it cannot impersonate a real site, and a trusted one does no harm.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.errors import EnvironmentProblem

LOCAL_DOMAINS = ("localhost", "test", "internal")
"""Reserved for this use: RFC 6761 (localhost, test) and ICANN resolution 2024.07.29.06 (internal)."""
LOCAL_NETWORK = ipaddress.IPv4Network("127.0.0.0/8")
ALWAYS = ("localhost", "127.0.0.1")
AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=397)
"""Browsers refuse certificates that live longer (https://support.apple.com/en-us/102028)."""
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files. ``left_out``: names that the authority may not sign, so that the certificate lacks them."""

    ca_path: str
    cert_path: str
    key_path: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Signer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def ensure(folder: Path, names: Sequence[str], now: datetime | None = None) -> Certificates:
    """A certificate for localhost, 127.0.0.1 and ``names`` (host names and IPv4 addresses), made where needed.

    The authority in ``folder`` is kept over runs; each set of names has a certificate of its own, which is
    issued again when less than 30 days are left or the authority changed.

    Raises:
        EnvironmentProblem: the folder cannot be written or holds files that are not ours.
    """
    at = now or datetime.now(UTC)
    wanted = tuple(dict.fromkeys((*ALWAYS, *(name.lower().rstrip(".") for name in names))))
    signed = tuple(sorted(filter(is_local, wanted)))
    stem = "server-" + hashlib.sha256("\n".join(signed).encode()).hexdigest()[:8]
    ca, cert, key = (folder / name for name in ("ca.pem", f"{stem}.pem", f"{stem}.key"))
    try:
        with _locked(folder):
            signer = _authority(ca, folder / "ca.key", at)
            if not _is_good(cert, key, signer, at):
                _issue(cert, key, signer, (signed, at))
    except (OSError, ValueError, TypeError) as error:
        raise EnvironmentProblem(
            f"cannot use the certificates in {folder}: {error}",
            hint="delete that folder; a new authority is made, which must be trusted again",
        ) from error
    return Certificates(str(ca), str(cert), str(key), tuple(name for name in wanted if not is_local(name)))


def is_local(name: str) -> bool:
    """Whether the authority may sign this host name or IPv4 address."""
    try:
        return ipaddress.ip_address(name) in LOCAL_NETWORK
    except ValueError:
        return any(name == domain or name.endswith(f".{domain}") for domain in LOCAL_DOMAINS)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two runs that start together must not make two authorities."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _authority(cert_path: Path, key_path: Path, at: datetime) -> _Signer:
    if cert_path.exists() and key_path.exists():
        signer = _Signer(x509.load_pem_x509_certificate(cert_path.read_bytes()), _load_key(key_path))
        if signer.certificate.not_valid_after_utc - at > LEAF_LIFE:
            return signer
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Holdfast local authority")])
    builder = _builder(name, key.public_key(), (at, AUTHORITY_LIFE)).issuer_name(name)
    for extension in _authority_extensions(key.public_key()):
        builder = builder.add_extension(
            extension, critical=not isinstance(extension, x509.SubjectKeyIdentifier)
        )
    certificate = builder.sign(key, hashes.SHA256())
    _write(key_path, _pem(key), 0o600)
    _write(cert_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return _Signer(certificate, key)


def _authority_extensions(public: ec.EllipticCurvePublicKey) -> tuple[x509.ExtensionType, ...]:
    domains = [x509.DNSName(domain) for domain in LOCAL_DOMAINS]
    return (
        x509.BasicConstraints(ca=True, path_length=0),
        _usage(sign_certificates=True),
        x509.NameConstraints([*domains, x509.IPAddress(LOCAL_NETWORK)], None),
        x509.SubjectKeyIdentifier.from_public_key(public),
    )


def _issue(cert_path: Path, key_path: Path, signer: _Signer, what: tuple[tuple[str, ...], datetime]) -> None:
    names, at = what
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Holdfast local edge")])
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    certificate = (
        _builder(subject, key.public_key(), (at, LEAF_LIFE))
        .issuer_name(signer.certificate.subject)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority_key, critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    _write(key_path, _pem(key), 0o600)
    _write(cert_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _is_good(cert_path: Path, key_path: Path, signer: _Signer, at: datetime) -> bool:
    if not (cert_path.exists() and key_path.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(cert_path.read_bytes())
    if certificate.not_valid_after_utc - at < RENEW_BEFORE:
        return False
    ours = certificate.public_key() == _load_key(key_path).public_key()
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    known = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return ours and known == issuer


def _builder(
    subject: x509.Name, public: ec.EllipticCurvePublicKey, life: tuple[datetime, timedelta]
) -> x509.CertificateBuilder:
    start, length = life
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - CLOCK_SKEW)
        .not_valid_after(start - CLOCK_SKEW + length)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path.name} is not an elliptic-curve key")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    os.replace(beside, path)
