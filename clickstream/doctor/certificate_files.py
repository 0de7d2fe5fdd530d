"""Checks of the certificate and key files that the settings name.

setting: the name of the setting, for the error. name: the path of the file.
"""

import os
import stat
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509

from clickstream.clients import certificates
from clickstream.errors import UserError

GET_AGAIN = "get it again (on Aiven: python -m clickstream env)"
GET_BOTH_AGAIN = "get both again (on Aiven: python -m clickstream env)"


def check_ca(setting: str, name: str, now: datetime) -> str:
    """Check a file of CA certificates and return its name. Raises UserError with the remedy."""
    for certificate in _certificates(setting, name):
        certificates.check_dates(certificate, f"{name} of {setting}", now, GET_AGAIN)
    return name


def check_client(certificate_name: str, key_name: str, now: datetime) -> str:
    """Check Kafka's client certificate and its key. Raises UserError with the remedy."""
    (certificate, *_) = _certificates("KAFKA_SSL_CERTFILE", certificate_name)
    origin = f"{key_name} of KAFKA_SSL_KEYFILE"
    key = certificates.read_key(_read("KAFKA_SSL_KEYFILE", key_name), origin, GET_AGAIN)
    certificates.check_pair(certificate, key, f"{certificate_name} and {key_name}", GET_BOTH_AGAIN)
    certificates.check_dates(certificate, certificate_name, now, certificates.RENEW)
    return f"{certificate_name}, {key_name}"


def check_renewal(name: str, now: datetime) -> str:
    """Return when to renew the client certificate. Raises UserError if that time has come."""
    (certificate, *_) = _certificates("KAFKA_SSL_CERTFILE", name)
    end = certificate.not_valid_after_utc
    if end - now < certificates.RENEW_BEFORE:
        raise UserError(
            f"{name} expires on {end:%Y-%m-%d}, in {(end - now).days} days; {certificates.RENEW}"
        )
    return f"not before {end - certificates.RENEW_BEFORE:%Y-%m-%d}"


def check_mode(setting: str, name: str) -> str:
    """Return the mode of a key file. Raises UserError if other users can read it."""
    if os.name != "posix":
        return "not checked on this system"
    mode = stat.S_IMODE(Path(name).stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(
            f"the file {name} of {setting} has mode {mode:04o}: other users can read the key; "
            f"run: chmod 600 {name}"
        )
    return f"{mode:04o}"


def _certificates(setting: str, name: str) -> Sequence[x509.Certificate]:
    return certificates.read_certificates(_read(setting, name), f"{name} of {setting}", GET_AGAIN)


def _read(setting: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UserError(
            f"the file {name} of {setting} cannot be read ({error.strerror}); {GET_AGAIN}"
        ) from None
