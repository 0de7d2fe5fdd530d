"""Checks of certificates and keys, which the settings give as files or as text."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from clickstream.clients import certificates
from clickstream.errors import RefusedError, UserError

GET_AGAIN = "get it again (on Aiven: python -m clickstream env)"
LET_READ = "let the user that runs this program read it, with: chown"
GET_BOTH_AGAIN = "get both again (on Aiven: python -m clickstream env)"


@dataclass(frozen=True, slots=True)
class Pem:
    """A setting with PEM text, or with the path of a file that holds it."""

    setting: str
    value: str
    is_text: bool = False

    @property
    def name(self) -> str:
        """The path of the file, or the name of the setting that holds the text."""
        return self.setting if self.is_text else self.value

    @property
    def origin(self) -> str:
        """The name with its setting, for errors."""
        return self.setting if self.is_text else f"{self.value} of {self.setting}"

    def read(self) -> bytes:
        """Return the PEM text. Raises RefusedError if the file cannot be read."""
        if self.is_text:
            return self.value.encode()
        try:
            return Path(self.value).read_bytes()
        except OSError as error:
            denied = isinstance(error, PermissionError)
            raise RefusedError(
                f"the file {self.origin} cannot be read ({error.strerror}); "
                f"{LET_READ if denied else GET_AGAIN}"
            ) from None


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


def check_mode(pem: Pem) -> str:
    """Return the mode of a key file. Raises UserError if other users can read it."""
    if os.name != "posix":
        return "not checked on this system"
    mode = stat.S_IMODE(Path(pem.value).stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(
            f"the file {pem.origin} has mode {mode:04o}: other users can read the key; "
            f"run: chmod 600 {pem.value}"
        )
    return f"{mode:04o}"


def _certificates(pem: Pem) -> Sequence[x509.Certificate]:
    return certificates.read_certificates(pem.read(), pem.origin, GET_AGAIN)
