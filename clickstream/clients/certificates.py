"""Reading certificates and keys in PEM format, and checking their dates and that they match.

Arguments for error texts: origin is the file or output that the text comes from; remedy says how
to replace it if it is unusable.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from clickstream.errors import UserError

# Aiven has the next certificate ready about three months before this one ends.
RENEW_BEFORE = timedelta(days=30)
RENEW = "terraform/README.md, section Troubleshooting, says how to renew it"


def read_certificates(pem: bytes, origin: str, remedy: str) -> Sequence[x509.Certificate]:
    """Return the certificates of a PEM text in order. Raises UserError if there is none."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise UserError(f"{origin} is not a certificate in PEM format; {remedy}") from None


def read_key(pem: bytes, origin: str, remedy: str) -> PrivateKeyTypes:
    """Return the private key of a PEM text. Raises UserError if there is no usable one."""
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise UserError(
            f"{origin} is protected by a passphrase, which is not supported; remove it with: "
            "openssl pkey -in OLD_FILE -out NEW_FILE"
        ) from None
    except ValueError:
        raise UserError(f"{origin} is not a private key in PEM format; {remedy}") from None


def check_dates(certificate: x509.Certificate, origin: str, now: datetime, remedy: str) -> None:
    """Raise UserError if a certificate is not valid at `now`."""
    if now < certificate.not_valid_before_utc:
        raise UserError(
            f"{origin} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; "
            "check the clock of this machine"
        )
    if now > certificate.not_valid_after_utc:
        raise UserError(f"{origin} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; {remedy}")


def check_pair(
    certificate: x509.Certificate, key: PrivateKeyTypes, origin: str, remedy: str
) -> None:
    """Raise UserError if the key does not belong to the certificate."""
    if certificate.public_key() != key.public_key():
        raise UserError(f"{origin} do not belong together; {remedy}")
