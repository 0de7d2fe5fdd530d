"""The settings: one frozen value, built from a mapping and checked once.

Precedence: a command-line flag, then the environment, then the `.env` file (`sources.py`). A
variable set to the empty string counts as set. `.env.example` lists the same names.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from clickstream import sources
from clickstream.errors import UsageError
from clickstream.service_urls import parse_database_url, parse_opensearch_uri
from clickstream.sources import OPENSEARCH, POSTGRES, SERVERS, UNKNOWN_ORIGINS, Origins

DEFAULT_ENV_FILE = Path(sources.ENV_FILE)
_SERVER = re.compile(r"([^\s:,\[\]@/]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?")
# As a browser writes it: without a path, and without a slash at the end.
_WEB_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\sA-Z]+")
_URL_PARSERS = {POSTGRES.url: parse_database_url, OPENSEARCH.url: parse_opensearch_uri}

_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_INDEX_PREFIX = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def _text(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _optional(value: str) -> str:
    return value


def _utf8(value: str) -> str:
    """Return a value as it is. Raises ValueError if it came from bytes that are not UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8 text; encode it so, or choose another value") from None
    return value


def _topic(value: str) -> str:
    """Return the name of a topic, which must follow Kafka's rules."""
    if not _TOPIC.fullmatch(_text(value)):
        raise ValueError(
            "must be the name of a topic: at most 249 letters, digits, dots, - and _, and not just "
            "one or two dots"
        )
    return value


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not _WHOLE.fullmatch(value.strip()) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return number

    return parse


def _flag(value: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.strip().lower() not in known:
        raise ValueError("must be true or false")
    return known[value.strip().lower()]


def _time(value: str) -> datetime:
    """Return a time of ISO 8601; it is UTC if it names no zone."""
    try:
        time = datetime.fromisoformat(value.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a date or a time such as 1990-01-01T00:00:00Z") from None


def _time_zone(value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value.strip())
    except (KeyError, ValueError, OSError):
        raise ValueError("must be the name of a time zone, such as Europe/Oslo or UTC") from None


def _names(value: str) -> tuple[str, ...]:
    """Return comma-separated names as a sorted tuple without repeats."""
    return tuple(sorted({name.strip() for name in value.split(",")} - {""}))


def _web_origins(value: str) -> tuple[str, ...]:
    """Return comma-separated origins of websites, or * for all."""
    names = _names(value)
    if not names or not all(name == "*" or _WEB_ORIGIN.fullmatch(name) for name in names):
        raise ValueError(
            "must be * or origins such as https://shop.example, with commas between them and "
            "without a slash at the end"
        )
    return names


def _servers(value: str) -> str:
    """Return comma-separated servers: host or host:port, an IPv6 address in brackets."""
    if not all(_SERVER.fullmatch(server.strip()) for server in value.split(",")):
        raise ValueError("must be one or more of host:port, with commas between them")
    return value


def _host(value: str) -> str:
    """Return the name or address of a host; an IPv6 address may be in brackets."""
    host = value.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if any(sign in host for sign in "@/[]") or (":" in host and not _is_ipv6(host)):
        raise ValueError(
            "must be the name or address of a host, without scheme, user, port and path"
        )
    return host


def _is_ipv6(host: str) -> bool:
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False


def _postgres_host(value: str) -> str:
    """Return a host as `_host` does, or the folder of a Unix socket, which begins with a slash."""
    is_folder = value.startswith("/") and "@" not in value
    return value if is_folder else _text(_host(value))


def _database(value: str) -> str:
    if "://" in value:
        raise ValueError("must be the name of a database; a URL belongs in DATABASE_URL")
    return _text(value)


def _pem(value: str) -> str:
    r"""Return PEM text; line breaks may be written as \n, as some platforms do."""
    text = value.strip().replace("\\n", "\n")
    if text and not (text.startswith("-----BEGIN ") and text.isascii()):
        raise ValueError(
            "must be PEM text that begins with -----BEGIN; the name of a file belongs in "
            "KAFKA_SSL_CAFILE, KAFKA_SSL_CERTFILE or KAFKA_SSL_KEYFILE"
        )
    return text


def _index_prefix(value: str) -> str:
    """Return the beginning of index names, which must follow OpenSearch's rules for names."""
    if not _INDEX_PREFIX.fullmatch(value):
        raise ValueError(
            "must be at most 100 lower case letters, digits, - and _, and begin with a letter or "
            "a digit"
        )
    return value


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return parse


def _setting(default: str, parse: Callable[[str], Any] = _text, *, secret: bool = False) -> Any:
    return field(
        default=parse(default),
        repr=not secret,
        metadata={"default": default, "parse": parse, "secret": secret},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of the product. Field names are the names of the variables in lower case.

    origins: the source of each setting. Secrets are not in the repr.
    """

    # Kafka
    kafka_bootstrap_servers: str = _setting("localhost:9092", _servers)
    kafka_topic: str = _setting("clickstream-events", _topic)
    kafka_topic_partitions: int = _setting("6", _whole(1, 10_000))
    kafka_group_id: str = _setting("clickstream")
    kafka_security_protocol: str = _setting(
        "PLAINTEXT", _one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    )
    kafka_ssl_cafile: str = _setting("", _optional)
    kafka_ssl_certfile: str = _setting("", _optional)
    kafka_ssl_keyfile: str = _setting("", _optional)
    kafka_ca_cert: str = _setting("", _pem, secret=True)
    kafka_access_cert: str = _setting("", _pem, secret=True)
    kafka_access_key: str = _setting("", _pem, secret=True)
    kafka_sasl_mechanism: str = _setting(
        "SCRAM-SHA-256", _one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    )
    kafka_sasl_username: str = _setting("", _optional)
    kafka_sasl_password: str = _setting("", _optional, secret=True)
    kafka_acks: str = _setting("all", _one_of("all", "1", "0"))
    batch_size: int = _setting("65536", _whole(1, 1_000_000))
    linger_ms: int = _setting("20", _whole(0, 60_000))
    # The consumer
    consumer_batch_events: int = _setting("20000", _whole(1, 1_000_000))
    consumer_batch_ms: int = _setting("30", _whole(1, 60_000))
    # PostgreSQL. The details in a URL are copied to the other settings.
    database_url: str = _setting("", str.strip, secret=True)
    postgres_host: str = _setting("localhost", _postgres_host)
    postgres_port: int = _setting("5432", _whole(1, 65_535))
    postgres_database: str = _setting("clickstream", _database)
    postgres_user: str = _setting("postgres")
    postgres_password: str = _setting("", _optional, secret=True)
    postgres_sslmode: str = _setting(
        "prefer", _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    )
    postgres_sslrootcert: str = _setting("", _optional)
    # OpenSearch
    opensearch_uri: str = _setting("", str.strip, secret=True)
    opensearch_host: str = _setting("", _host)
    opensearch_port: int = _setting("9200", _whole(1, 65_535))
    opensearch_user: str = _setting("", _optional)
    opensearch_password: str = _setting("", _optional, secret=True)
    opensearch_use_ssl: bool = _setting("true", _flag)
    opensearch_cafile: str = _setting("", _optional)
    opensearch_index_prefix: str = _setting("clickstream", _index_prefix)
    opensearch_dashboards_url: str = _setting("", _optional)
    # The session rule
    session_timeout_seconds: int = _setting("1800", _whole(1, 10_000_000))
    session_start_events: tuple[str, ...] = _setting("", _names)
    session_end_events: tuple[str, ...] = _setting("", _names)
    max_future_seconds: int = _setting("3600", _whole(0, 1_000_000_000))
    # How records are read
    min_event_time: datetime = _setting("1990-01-01", _time)  # noqa: RUF009 - never changed
    event_fields: str = _setting("", _optional)
    event_types: str = _setting("", _optional)
    ip_addresses: str = _setting("full", _one_of("full", "truncated", "none"))
    # The collector. A rate of 0 is no limit.
    collector_origins: tuple[str, ...] = _setting("*", _web_origins)
    collector_rate: float = _setting("0", _number(0, 1_000_000))
    trusted_proxies: int = _setting("0", _whole(0, 100))
    # Simulated traffic
    target_active_users: int = _setting("50", _whole(1, 10_000_000))
    session_duration_min: float = _setting("5", _number(0, 1_000_000))
    session_duration_max: float = _setting("900", _number(1, 1_000_000))
    action_delay_min: float = _setting("1", _number(0, 1_000_000))
    action_delay_max: float = _setting("30", _number(0.001, 1_000_000))
    logout_failure_prob: float = _setting("0.3", _number(0, 1))
    session_inactivity_grace: float = _setting("60", _number(0, 1_000_000))
    num_events: int = _setting("-1", _whole(-1, 10**12))
    # Report and views
    report_timezone: ZoneInfo = _setting("UTC", _time_zone)  # noqa: RUF009 - never changed
    # Logging
    log_format: str = _setting("text", _one_of("text", "json"))

    origins: Origins = field(default=UNKNOWN_ORIGINS, repr=False, compare=False)

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, str], origins: Origins = UNKNOWN_ORIGINS
    ) -> "Settings":
        """Build the settings from a mapping of variable names to texts.

        Unknown names are ignored. Details of a server in a URL are used if none of the settings
        for the parts is in the mapping. Raises UsageError with all problems.
        """
        details, problems = _details_of_urls(mapping)
        given = {**_protocol_of_pem(mapping), **details, **mapping}
        values = {}
        for item in setting_fields():
            name = item.name.upper()
            try:
                if name in given:
                    values[item.name] = item.metadata["parse"](_utf8(given[name]))
            except ValueError as error:
                problems.append(_problem(item, error, mapping))
        settings = cls(**values, origins=origins)
        problems += settings._contradictions()
        if problems:
            raise UsageError("; ".join(problems))
        return settings

    def _contradictions(self) -> list[str]:
        problems = []
        for low, high in (
            ("session_duration_min", "session_duration_max"),
            ("action_delay_min", "action_delay_max"),
        ):
            if getattr(self, low) > getattr(self, high):
                problems.append(f"{low.upper()} must not be above {high.upper()}")
        if bool(self.kafka_ssl_certfile) != bool(self.kafka_ssl_keyfile):
            problems.append("KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE must be set together")
        if bool(self.kafka_access_cert) != bool(self.kafka_access_key):
            problems.append("KAFKA_ACCESS_CERT and KAFKA_ACCESS_KEY must be set together")
        if self.kafka_security_protocol.startswith("SASL") and not self.kafka_sasl_username:
            problems.append(
                f"KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs KAFKA_SASL_USERNAME"
            )
        return problems


def setting_fields() -> list[Field[Any]]:
    """Return the fields of `Settings` that hold a setting, each with its metadata."""
    return [item for item in fields(Settings) if item.metadata]


def _protocol_of_pem(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the security protocol to use by default if certificates are given as text."""
    has_text = mapping.get("KAFKA_CA_CERT") or mapping.get("KAFKA_ACCESS_CERT")
    return {"KAFKA_SECURITY_PROTOCOL": "SSL"} if has_text else {}


def _details_of_urls(mapping: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the settings in the URLs of a mapping, and the problems of the URLs."""
    details: dict[str, str] = {}
    problems = []
    for server in SERVERS:
        parts = server.parts & mapping.keys()
        if server.url not in mapping or server.address in parts:
            continue
        if parts:
            problems.append(
                f"{server.url} and {', '.join(sorted(parts))} are both set; set either the URL or "
                f"all parts, {server.address} included"
            )
            continue
        try:
            details |= _URL_PARSERS[server.url](_utf8(mapping[server.url]).strip())
        except ValueError as error:
            problems.append(f"{server.url} {error}")
    return details, problems


def _problem(item: Field[Any], error: ValueError, mapping: Mapping[str, str]) -> str:
    """Describe an invalid value; a value that may hold a password is not repeated."""
    name = item.name.upper()
    if name not in mapping:
        (url,) = (server.url for server in SERVERS if name in server.parts)
        return f"{name}, given by {url}, {error}"
    value = mapping[name]
    if item.metadata["secret"] or "@" in value or "/" in value:
        return f"{name} {error}"
    return f"{name} {error} (it is {value!r})"


def load(env_file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of the environment and of the `.env` file.

    env_file: a file that must exist; None for `.env` in the working directory or in the folder of
    the scripts, if there is one. Raises UsageError with all problems.
    """
    return from_sources(sources.find(env_file, environment))


def from_sources(found: sources.Sources) -> Settings:
    """Return the settings of these sources. Raises UsageError with all problems."""
    return Settings.from_mapping(found.values(), found.origins())
