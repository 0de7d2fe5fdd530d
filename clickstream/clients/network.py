"""Reaching a server: name resolution, TCP connection, TLS handshake."""

import socket
import ssl
from dataclasses import dataclass

from clickstream.clients.addresses import host_and_port
from clickstream.clients.pem import Pem
from clickstream.errors import RefusedError, UserError

TIMEOUT_SECONDS = 10.0
IS_IT_ON = (
    "is the server running (local servers: python -m clickstream stack up; Aiven: is the service "
    "powered on in the Console)?"
)
# https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
NOT_YET_VALID, EXPIRED, OTHER_HOST, OTHER_ADDRESS = 9, 10, 62, 64
UNKNOWN_ISSUER = (18, 19, 20, 21)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Host and port of a server, and the name of the setting that they come from."""

    host: str
    port: int
    setting: str

    def __str__(self) -> str:
        return host_and_port(self.host, self.port)


def resolve(endpoint: Endpoint) -> str:
    """Resolve the name and return its addresses. Raises UserError with the remedy."""
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise UserError(
            f"the name {endpoint.host} of {endpoint.setting} cannot be resolved; check its "
            "spelling and this machine's network (an Aiven service that is powered off has no name)"
        ) from None
    return ", ".join(sorted({str(address[4][0]) for address in found}))


def reach(endpoint: Endpoint) -> str:
    """Connect once. Raises UserError with the remedy."""
    open_connection(endpoint).close()
    return "open"


def open_connection(endpoint: Endpoint) -> socket.socket:
    """Return a new TCP connection. Raises UserError with the remedy."""
    try:
        return socket.create_connection((endpoint.host, endpoint.port), TIMEOUT_SECONDS)
    except TimeoutError:
        raise UserError(
            f"{endpoint} does not answer within {TIMEOUT_SECONDS:g} s; a firewall or the service's "
            "IP filter may block this machine"
        ) from None
    except ConnectionRefusedError:
        raise UserError(f"nothing listens at {endpoint}; {IS_IT_ON}") from None
    except OSError as error:
        raise UserError(
            f"{endpoint} cannot be reached ({error.strerror}); check this machine's network"
        ) from None


def context(
    cafile: str, *, verify: bool = True, check_hostname: bool = True, strict: bool = False
) -> ssl.SSLContext:
    """Return a TLS context that checks the server as its client would.

    cafile: the CA certificates to trust; those of the system if empty.
    strict: apply Python's default checks too, as opensearch-py does; from Python 3.13 on they
    require more of a certificate than OpenSSL alone.
    Raises UserError if the file cannot be used.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = verify and check_hostname
    tls.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if strict:
        tls.verify_flags |= ssl.create_default_context().verify_flags
    if not cafile:
        tls.load_default_certs()
        return tls
    try:
        tls.load_verify_locations(cafile)
    except OSError as error:
        raise UserError(
            f"OpenSSL cannot use the CA file {cafile} ({error}); get another from the server's "
            "operator"
        ) from None
    return tls


def describe_trust(pem: Pem) -> str:
    """Describe the CA certificates that are trusted, for an error message."""
    return pem.origin if pem.value else f"this machine's CA store (as {pem.setting} is empty)"


def start_tls(
    connection: socket.socket, endpoint: Endpoint, tls: ssl.SSLContext, trusted: str
) -> ssl.SSLSocket:
    """Do the TLS handshake on a new connection.

    trusted: the text of `describe_trust`. Raises UserError with the remedy, and RefusedError if the
    certificate is not accepted.
    """
    try:
        return tls.wrap_socket(connection, server_hostname=endpoint.host)
    except ssl.SSLCertVerificationError as error:
        raise RefusedError(_refused(error, endpoint, trusted)) from None
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise UserError(
            f"{endpoint} does not answer in TLS ({reason}); check that this is the "
            "port for TLS and that the server has TLS turned on"
        ) from None


def _refused(error: ssl.SSLCertVerificationError, endpoint: Endpoint, trusted: str) -> str:
    if error.verify_code == EXPIRED:
        return f"the certificate of {endpoint} has expired; its operator has to renew it"
    if error.verify_code == NOT_YET_VALID:
        return f"the certificate of {endpoint} is not valid yet; check the clock of this machine"
    if error.verify_code in (OTHER_HOST, OTHER_ADDRESS):
        return (
            f"the certificate of {endpoint} is for another name; set {endpoint.setting} to the "
            "name that the operator gives, not to an alias or an address"
        )
    if error.verify_code in UNKNOWN_ISSUER:
        return (
            f"the certificate of {endpoint} is not signed by a CA of {trusted} "
            f"({error.verify_message}); get the CA's file from the server's operator (on Aiven: "
            "python -m clickstream env)"
        )
    return (
        f"the certificate of {endpoint} is not accepted ({error.verify_message}); its operator has "
        "to issue a new one"
    )


def describe(secured: ssl.SSLSocket) -> str:
    """Describe the TLS version and the server's certificate."""
    from cryptography import x509  # slow to import

    encoded = secured.getpeercert(binary_form=True)
    if encoded is None:
        return f"{secured.version()}"
    end = x509.load_der_x509_certificate(encoded).not_valid_after_utc
    return f"{secured.version()}, certificate valid until {end:%Y-%m-%d}"
