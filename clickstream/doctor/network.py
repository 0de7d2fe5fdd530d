"""The way to a server: its name, a connection, TLS."""

import socket
import ssl
from dataclasses import dataclass

from cryptography import x509

from clickstream.errors import UserError

TIMEOUT_SECONDS = 10.0
IS_IT_ON = (
    "is the server running (local servers: python -m clickstream stack up; Aiven: is the service "
    "powered on in the Console)?"
)
# https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
NOT_YET_VALID, EXPIRED, OTHER_HOST, OTHER_ADDRESS = 9, 10, 62, 64
UNKNOWN_ISSUER = (18, 19, 20, 21)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is, and the setting that says so."""

    host: str
    port: int
    setting: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def resolve(place: Place) -> str:
    """Look the name up. Raises UserError with the cure."""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise UserError(
            f"the name {place.host} of {place.setting} cannot be resolved; check it for a slip, "
            "then this machine's network (a service on Aiven that is powered off or deleted has "
            "no name)"
        ) from None
    return ", ".join(sorted({str(address[4][0]) for address in found}))


def reach(place: Place) -> str:
    """Connect once. Raises UserError with the cure."""
    open_connection(place).close()
    return "open"


def open_connection(place: Place) -> socket.socket:
    """A TCP connection. Raises UserError with the cure."""
    try:
        return socket.create_connection((place.host, place.port), TIMEOUT_SECONDS)
    except TimeoutError:
        raise UserError(
            f"{place} does not answer within {TIMEOUT_SECONDS:g} s; a firewall or the service's "
            "IP filter may keep this machine out"
        ) from None
    except ConnectionRefusedError:
        raise UserError(f"nothing listens at {place}; {IS_IT_ON}") from None
    except OSError as error:
        raise UserError(
            f"{place} cannot be reached ({error.strerror}); check this machine's network"
        ) from None


def context(
    cafile: str, *, verify: bool = True, check_hostname: bool = True, strict: bool = False
) -> ssl.SSLContext:
    """How to check the server: against `cafile`, or the system's certificates where it is empty.

    strict: as Python's default context, which from 3.13 on wants more of a certificate than
    OpenSSL does by itself. A doctor must be as strict as the client that it speaks for.
    Raises UserError where the file cannot be used.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = verify and check_hostname
    made.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if strict:
        made.verify_flags |= ssl.create_default_context().verify_flags
    if not cafile:
        made.load_default_certs()
        return made
    try:
        made.load_verify_locations(cafile)
    except OSError as error:
        raise UserError(
            f"OpenSSL cannot use the CA file {cafile} ({error}); get another from the server's "
            "operator"
        ) from None
    return made


def identify(how: ssl.SSLContext, certfile: str, keyfile: str) -> None:
    """Show a client certificate to the server. Raises UserError where it cannot be used."""
    try:
        how.load_cert_chain(certfile, keyfile)
    except OSError as error:
        raise UserError(
            f"OpenSSL cannot use {certfile} with {keyfile} ({error}); make new ones"
        ) from None


def trust(setting: str, cafile: str) -> str:
    """What the server's certificate is checked against, for a sentence."""
    return f"{setting} ({cafile})" if cafile else f"this machine, {setting} being empty,"


def start_tls(
    connection: socket.socket, place: Place, how: ssl.SSLContext, trusted: str
) -> ssl.SSLSocket:
    """Shake hands on a fresh connection. Raises UserError with the cure.

    trusted: what `trust` says.
    """
    try:
        return how.wrap_socket(connection, server_hostname=place.host)
    except ssl.SSLCertVerificationError as error:
        raise UserError(_refused(error, place, trusted)) from None
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise UserError(
            f"{place} does not answer in TLS ({reason}); is that the port for TLS, and does the "
            "server use it?"
        ) from None


def _refused(error: ssl.SSLCertVerificationError, place: Place, trusted: str) -> str:
    if error.verify_code == EXPIRED:
        return f"the certificate of {place} has expired; its operator has to renew it"
    if error.verify_code == NOT_YET_VALID:
        return f"the certificate of {place} is not valid yet; is the clock of this machine right?"
    if error.verify_code in (OTHER_HOST, OTHER_ADDRESS):
        return (
            f"the certificate of {place} is for another name; {place.setting} must have the name "
            "that the operator gives, not an alias or an address"
        )
    if error.verify_code in UNKNOWN_ISSUER:
        return (
            f"the certificate of {place} is not signed by a CA that {trusted} knows "
            f"({error.verify_message}); get the CA's file from the server's operator (on Aiven: "
            "python -m clickstream env)"
        )
    return (
        f"the certificate of {place} is not taken ({error.verify_message}); its operator has to "
        "make a new one"
    )


def describe(secured: ssl.SSLSocket) -> str:
    """Version of TLS and end of the server's certificate."""
    encoded = secured.getpeercert(binary_form=True)
    if encoded is None:
        return f"{secured.version()}"
    end = x509.load_der_x509_certificate(encoded).not_valid_after_utc
    return f"{secured.version()}, certificate valid until {end:%Y-%m-%d}"
