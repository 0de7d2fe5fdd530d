"""A certification authority for tests, and the certificates that it signs, as PEM text."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

NOW = datetime.now(UTC)
SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: str
    key: str


class Authority:
    """A certification authority; its own certificate is `certificate`."""

    def __init__(self, name: str, days: float = 3650) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._public = self._key.public_key()
        self._name = _name(name)
        self._days = days

    @cached_property
    def certificate(self) -> str:
        """The self-signed CA certificate."""
        made = _builder(self._name, self._name, self._key, 0, self._days)
        return _text(
            made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(SIGNS, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self, name: str, *, days: float = 820, begins: float = 0, hosts: tuple[str, ...] = ()
    ) -> Pair:
        """Issue a certificate with a new key.

        days: length of its validity. begins: start of its validity, in days from now.
        hosts: names and addresses of the server.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        made = _builder(_name(name), self._name, key, begins, days).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._public), critical=False
        )
        if hosts:
            made = made.add_extension(
                x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False
            )
        return Pair(_text(made.sign(self._key, hashes.SHA256())), key_text(key))


def key_text(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> str:
    """Return a key as PEM text."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begins: float,
    days: float,
) -> x509.CertificateBuilder:
    start = NOW + timedelta(days=begins, minutes=-5 if begins >= 0 else 0)
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=start + timedelta(days=days),
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
