"""Certificates and keys as PEM: do they parse, are they in date, do they belong together.

origin: what the text is. cure: what helps where it is of no use. Both are for the sentence.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from clickstream.errors import UserError

# Aiven has the next certificate ready about three months before this one ends.
RENEW_BEFORE = timedelta(days=30)
RENEW = "README.md, section On Aiven, says how to renew it"


def read_certificates(pem: bytes, origin: str, cure: str) -> Sequence[x509.Certificate]:
    """The certificates of a PEM text, the first one first. Raises UserError where there is none."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise UserError(f"{origin} is not a certificate in PEM format; {cure}") from None


def read_key(pem: bytes, origin: str, cure: str) -> PrivateKeyTypes:
    """The private key of a PEM text. Raises UserError where there is none that can be used."""
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise UserError(
            f"{origin} is protected by a passphrase, which nobody can give; take it off with: "
            "openssl pkey"
        ) from None
    except ValueError:
        raise UserError(f"{origin} is not a private key in PEM format; {cure}") from None


def check_dates(certificate: x509.Certificate, origin: str, now: datetime, cure: str) -> None:
    """Raise UserError for a certificate that is not valid at `now`."""
    if now < certificate.not_valid_before_utc:
        raise UserError(
            f"{origin} begins only at {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; "
            "is the clock of this machine right?"
        )
    if now > certificate.not_valid_after_utc:
        raise UserError(f"{origin} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; {cure}")


def check_pair(certificate: x509.Certificate, key: PrivateKeyTypes, origin: str, cure: str) -> None:
    """Raise UserError where the key is not the certificate's."""
    if certificate.public_key() != key.public_key():
        raise UserError(f"{origin} do not belong together; {cure}")
