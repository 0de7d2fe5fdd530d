"""Service URLs: the details of a server in one setting, as hosting platforms provide them.

The functions raise ValueError with the expected form. It never repeats the URL, which may hold a
password.
"""

from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2.extensions import parse_dsn

POSTGRES_SETTINGS = {
    "host": "POSTGRES_HOST",
    "port": "POSTGRES_PORT",
    "dbname": "POSTGRES_DATABASE",
    "user": "POSTGRES_USER",
    "password": "POSTGRES_PASSWORD",
    "sslmode": "POSTGRES_SSLMODE",
    "sslrootcert": "POSTGRES_SSLROOTCERT",
}
# The program sets these itself.
IGNORED_PARAMETERS = {"application_name", "fallback_application_name", "connect_timeout"}
POSTGRES_FORM = (
    "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, optionally with ?sslmode= and "
    "&sslrootcert=; special characters in user and password must be percent-encoded"
)
OPENSEARCH_FORM = (
    "must be https://USER:PASSWORD@HOST:PORT without a path; special characters in user and "
    "password must be percent-encoded"
)
# As opensearch-py takes a URL without a port.
OPENSEARCH_PORTS = {"https": 443, "http": 9200}


def parse_database_url(url: str) -> dict[str, str]:
    """Return the POSTGRES_* settings in a DATABASE_URL, as libpq reads it."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError(POSTGRES_FORM)
    try:
        parameters = parse_dsn(url)
    except (psycopg2.ProgrammingError, UnicodeError):
        raise ValueError(POSTGRES_FORM) from None
    if not {"host", "dbname", "user"} <= parameters.keys():
        raise ValueError(POSTGRES_FORM)
    unsupported = parameters.keys() - POSTGRES_SETTINGS.keys() - IGNORED_PARAMETERS
    if unsupported:
        names = ", ".join(sorted(unsupported))
        raise ValueError(f"has parameters that are not supported ({names}); remove them")
    return {
        setting: parameters[name]
        for name, setting in POSTGRES_SETTINGS.items()
        if name in parameters
    }


def parse_opensearch_uri(uri: str) -> dict[str, str]:
    """Return the OPENSEARCH_* settings in an OPENSEARCH_URI; an empty one turns search off."""
    if not uri:
        return {"OPENSEARCH_HOST": ""}
    try:
        parts = urlsplit(uri)
        port = parts.port
        user, password = (
            unquote(text or "", errors="strict") for text in (parts.username, parts.password)
        )
    except ValueError:
        raise ValueError(OPENSEARCH_FORM) from None
    surplus = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in OPENSEARCH_PORTS or not parts.hostname or surplus:
        raise ValueError(OPENSEARCH_FORM)
    return {
        "OPENSEARCH_HOST": parts.hostname,
        "OPENSEARCH_PORT": str(port or OPENSEARCH_PORTS[parts.scheme]),
        "OPENSEARCH_USER": user,
        "OPENSEARCH_PASSWORD": password,
        "OPENSEARCH_USE_SSL": str(parts.scheme == "https"),
    }
