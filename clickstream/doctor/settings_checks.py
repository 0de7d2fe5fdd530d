"""Checks of the settings: their sources, misspelled names, and settings that have no effect."""

from collections.abc import Iterator
from difflib import get_close_matches

from clickstream.doctor.checks import Check
from clickstream.errors import UserError
from clickstream.settings import Settings, setting_fields
from clickstream.sources import Sources

SETTING_NAMES = frozenset(item.name.upper() for item in setting_fields())
# The ratio of difflib: about one wrong letter in seven.
SIMILARITY = 0.85
# The names of the setting for a file in other programs.
FILE_SUFFIXES = ("", "_PATH", "_FILE", "_LOCATION")
# Names in other programs and on platforms, by setting; docs/migrating.md lists them.
NAMES_ELSEWHERE = {
    "KAFKA_BOOTSTRAP_SERVERS": ("KAFKA_SERVICE_URI", "KAFKA_BROKERS", "KAFKA_HOST", "KAFKA_URL"),
    "KAFKA_SSL_CAFILE": tuple(f"KAFKA_SSL_CA{suffix}" for suffix in FILE_SUFFIXES),
    "KAFKA_SSL_CERTFILE": tuple(f"KAFKA_SSL_CERT{suffix}" for suffix in FILE_SUFFIXES),
    "KAFKA_SSL_KEYFILE": tuple(f"KAFKA_SSL_KEY{suffix}" for suffix in FILE_SUFFIXES),
    "KAFKA_CA_CERT": ("KAFKA_TRUSTED_CERT",),
    "KAFKA_ACCESS_CERT": ("KAFKA_CLIENT_CERT",),
    "KAFKA_ACCESS_KEY": ("KAFKA_CLIENT_CERT_KEY",),
    "DATABASE_URL": ("AIVEN_PG_URI", "POSTGRES_URL"),
    "POSTGRES_HOST": ("AIVEN_PG_HOST",),
    "POSTGRES_PORT": ("AIVEN_PG_PORT",),
    "POSTGRES_DATABASE": ("AIVEN_PG_DATABASE", "AIVEN_PG_DB", "POSTGRES_DB"),
    "POSTGRES_USER": ("AIVEN_PG_USER",),
    "POSTGRES_PASSWORD": ("AIVEN_PG_PASSWORD",),
    "POSTGRES_SSLMODE": ("AIVEN_PG_SSLMODE",),
    "OPENSEARCH_URI": ("AIVEN_OS_URI", "OPENSEARCH_URL"),
    "OPENSEARCH_HOST": ("AIVEN_OS_HOST",),
    "OPENSEARCH_PORT": ("AIVEN_OS_PORT",),
    "OPENSEARCH_USER": ("AIVEN_OS_USER",),
    "OPENSEARCH_PASSWORD": ("AIVEN_OS_PASSWORD",),
}
SETTING_OF = {other: setting for setting, others in NAMES_ELSEWHERE.items() for other in others}
SASL_SETTINGS = ("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD")
TLS_SETTINGS = (
    *("KAFKA_SSL_CAFILE", "KAFKA_SSL_CERTFILE", "KAFKA_SSL_KEYFILE"),
    *("KAFKA_CA_CERT", "KAFKA_ACCESS_CERT", "KAFKA_ACCESS_KEY"),
)


def checks(settings: Settings, sources: Sources) -> Iterator[Check]:
    """Yield the checks of the settings; the first ones only name the source of each setting."""
    unused = sources.unused()
    in_file = sorted(SETTING_NAMES & sources.file.keys() - set(unused))
    yield Check("environment", lambda: _join(sorted(SETTING_NAMES & sources.environment.keys())))
    if sources.env_file:
        yield Check("file", lambda: f"{sources.env_file}: {_join(in_file)}")
    else:
        yield Check("file", lambda: f"no .env in {' or '.join(map(str, sources.searched))}")
    if unused:
        yield Check(
            "not used",
            lambda: (
                f"{_join(unused)} in {sources.env_file}, because the environment has other "
                "details of the same server"
            ),
        )
    yield Check("default", lambda: "every other setting; .env.example lists all of them")
    yield Check("names", lambda: _check_names(sources), vital=False)
    yield Check("no effect", lambda: _check_protocol(settings), vital=False)


def _join(names: list[str]) -> str:
    return ", ".join(names) or "no setting"


def _check_names(sources: Sources) -> str:
    origins = sources.origins().by_name
    problems = []
    for name in sorted(origins.keys() - SETTING_NAMES):
        meant = intended_setting(name)
        if meant and meant not in origins:
            problems.append(f"{origins[name]} is not a setting; its name here is {meant}")
    if problems:
        raise UserError("; ".join(problems))
    return "no misspelled one found"


def intended_setting(name: str) -> str | None:
    """Return the setting that has this name in other programs or a similar one here, if any."""
    if name in SETTING_OF:
        return SETTING_OF[name]
    candidates = [each for each in sorted(SETTING_NAMES) if each[:2] == name[:2]]
    return next(iter(get_close_matches(name, candidates, 1, SIMILARITY)), None)


def _check_protocol(settings: Settings) -> str:
    """Check that the security protocol uses the credentials that are set for Kafka."""
    protocol = settings.kafka_security_protocol
    unused: list[str] = []
    if not protocol.startswith("SASL"):
        unused += [name for name in SASL_SETTINGS if getattr(settings, name.lower())]
    if "SSL" not in protocol:
        unused += [name for name in TLS_SETTINGS if getattr(settings, name.lower())]
    if unused:
        raise UserError(
            f"KAFKA_SECURITY_PROTOCOL={protocol} does not use {', '.join(unused)}; set it to SSL "
            "for certificates, to SASL_SSL for user and password, or remove what is not used"
        )
    return "no setting"
