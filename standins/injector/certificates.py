"""CAs and serving certificates, and which CAs a webhook still has to trust.

Keys are P-256. A CA's key never leaves the process that made it; a new leader makes a
new CA. So that this never breaks a call, a CA stays in the bundle until the last
certificate it can have signed has run out: one leaf's lifetime after the next CA came.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_NAME = "Agent Inject CA"
LEAF_NAME = "Agent Inject Service"
CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(hours=24)
RENEW_AT = 0.1
"""A certificate is renewed when this share of its life is left."""
MAX_CAS = 8
# How long a leader that lost its lease may still sign before it notices.
SLACK = timedelta(minutes=10)
# Two machines' clocks differ; a certificate is valid from a little earlier.
BACKDATED = timedelta(minutes=1)


def now() -> datetime:
    """The time certificates are judged by, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class KeyPair:
    """A certificate with its key, both PEM. The key stays out of the repr."""

    cert: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"KeyPair(expires={self.expires:%Y-%m-%dT%H:%M:%SZ})"

    @property
    def expires(self) -> datetime:
        """When the certificate runs out."""
        return first(self.cert).not_valid_after_utc

    @property
    def readable(self) -> bool:
        """Whether both can be parsed and the key is the certificate's."""
        try:
            key = serialization.load_pem_private_key(self.key, password=None)
            public = first(self.cert).public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return False
        return bool(key.public_key() == public)

    def usable(self, at: datetime) -> bool:
        """Whether TLS clients accept the certificate's dates at this time."""
        return first(self.cert).not_valid_before_utc <= at < self.expires

    def due(self, at: datetime) -> bool:
        """Whether it should be renewed: a tenth of its life or less is left."""
        start = first(self.cert).not_valid_before_utc
        return at >= self.expires - RENEW_AT * (self.expires - start)


class Authority:
    """A CA of our own, with its key in memory only."""

    def __init__(self, life: timedelta = CA_LIFE, at: datetime | None = None) -> None:
        at = at or now()
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CA_NAME)])
        public = self._key.public_key()
        self._cert = (
            _builder(name, name, public, at, life)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return self._cert.public_bytes(serialization.Encoding.PEM)

    def outlives(self, life: timedelta, at: datetime) -> bool:
        """Whether the CA is valid for longer than a certificate made now."""
        return at + life < self._cert.not_valid_after_utc

    def signed(self, pair: KeyPair) -> bool:
        """Whether this CA made the certificate."""
        try:
            first(pair.cert).verify_directly_issued_by(self._cert)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True

    def issue(
        self, hosts: Sequence[str], life: timedelta = LEAF_LIFE, at: datetime | None = None
    ) -> KeyPair:
        """A serving certificate for host names and addresses."""
        at = at or now()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LEAF_NAME)])
        cert = (
            _builder(name, self._cert.subject, key.public_key(), at, life)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
            .sign(self._key, hashes.SHA256())
        )
        return KeyPair(
            cert.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            ),
        )


def trusted_bundle(own: bytes, published: bytes, leaf_life: timedelta, at: datetime) -> bytes:
    """The CA bundle to publish: `own` first, then older ones still in use.

    `published` is what the webhook configuration holds now; what is no certificate in
    it is dropped. At most MAX_CAS are kept, the newest.
    """
    ours = x509.load_pem_x509_certificate(own)
    others = {cert for cert in certificates(published) if cert != ours}
    kept = [ours]
    newer = ours.not_valid_before_utc + BACKDATED
    for cert in sorted(others, key=lambda each: each.not_valid_before_utc, reverse=True):
        still_in_use = at < newer + leaf_life + SLACK and at < cert.not_valid_after_utc
        if still_in_use and len(kept) < MAX_CAS:
            kept.append(cert)
        newer = min(newer, cert.not_valid_before_utc + BACKDATED)
    return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in kept)


def certificates(pem: bytes) -> list[x509.Certificate]:
    """All certificates of a bundle; one that cannot be read hides no other."""
    found = []
    for part in pem.split(b"-----BEGIN CERTIFICATE-----")[1:]:
        try:
            found.append(x509.load_pem_x509_certificate(b"-----BEGIN CERTIFICATE-----" + part))
        except ValueError:
            continue
    return found


def first(pem: bytes) -> x509.Certificate:
    """The first certificate of a PEM text. Raises ValueError when there is none."""
    return x509.load_pem_x509_certificate(pem)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    at: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATED)
        .not_valid_after(at + life)
    )


def _key_usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
