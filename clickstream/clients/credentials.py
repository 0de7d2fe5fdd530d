"""Checks of certificates and keys, which the settings give as files or as text."""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from clickstream.clients import certificates
from clickstream.clients.pem import GET_AGAIN, Pem
from clickstream.errors import UserError

GET_BOTH_AGAIN = "get both again (on Aiven: python -m clickstream env)"


def check_ca(pem: Pem, now: datetime) -> str:
    """Check CA certificates and return their name. Raises UserError with the remedy."""
    for certificate in _certificates(pem):
        certificates.check_dates(certificate, pem.origin, now, GET_AGAIN)
    return pem.name


def check_client(pem: Pem, key_pem: Pem, now: datetime) -> str:
    """Check Kafka's client certificate and its key. Raises UserError with the remedy."""
    (certificate, *_) = _certificates(pem)
    key = certificates.read_key(key_pem.read(), key_pem.origin, GET_AGAIN)
    certificates.check_pair(certificate, key, f"{pem.name} and {key_pem.name}", GET_BOTH_AGAIN)
    certificates.check_dates(certificate, pem.name, now, certificates.RENEW)
    return f"{pem.name}, {key_pem.name}"


def check_renewal(pem: Pem, now: datetime) -> str:
    """Return when to renew the client certificate. Raises UserError if that time has come."""
    (certificate, *_) = _certificates(pem)
    end = certificate.not_valid_after_utc
    if end - now < certificates.RENEW_BEFORE:
        days = (end - now).days
        raise UserError(
            f"{pem.name} expires on {end:%Y-%m-%d}, in {days} days; {certificates.RENEW}"
        )
    return f"not before {end - certificates.RENEW_BEFORE:%Y-%m-%d}"


def _certificates(pem: Pem) -> Sequence[x509.Certificate]:
    return certificates.read_certificates(pem.read(), pem.origin, GET_AGAIN)
