"""The settings: one frozen value, built from a mapping, checked once.

Precedence: a command-line flag, then the environment, then the `.env` file. A variable set to
the empty string counts as set. `.env.example` lists the same names; a test compares them.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from clickstream.errors import UsageError

DEFAULT_ENV_FILE = Path(".env")
_SERVER = re.compile(r"([^\s:,\[\]]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?")

_WHOLE = re.compile(r"-?[0-9]{1,18}")


def _text(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _optional(value: str) -> str:
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


def _names(value: str) -> tuple[str, ...]:
    """Comma-separated names as a sorted tuple without repeats."""
    return tuple(sorted({name.strip() for name in value.split(",")} - {""}))


def _servers(value: str) -> str:
    """Comma-separated host or host:port; an IPv6 address in brackets."""
    if not all(_SERVER.fullmatch(server.strip()) for server in value.split(",")):
        raise ValueError("must be one or more of host:port, with commas between them")
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
    """Every setting of the product. Field names are the variables' names in lower case.

    Secrets do not show in the repr.
    """

    # Kafka
    kafka_bootstrap_servers: str = _setting("localhost:9092", _servers)
    kafka_topic: str = _setting("clickstream-events")
    kafka_topic_partitions: int = _setting("6", _whole(1, 10_000))
    kafka_group_id: str = _setting("clickstream")
    kafka_security_protocol: str = _setting(
        "PLAINTEXT", _one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    )
    kafka_ssl_cafile: str = _setting("", _optional)
    kafka_ssl_certfile: str = _setting("", _optional)
    kafka_ssl_keyfile: str = _setting("", _optional)
    kafka_sasl_mechanism: str = _setting(
        "SCRAM-SHA-256", _one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    )
    kafka_sasl_username: str = _setting("", _optional)
    kafka_sasl_password: str = _setting("", _optional, secret=True)
    kafka_acks: str = _setting("all", _one_of("all", "1", "0"))
    batch_size: int = _setting("65536", _whole(1, 1_000_000))
    linger_ms: int = _setting("20", _whole(0, 60_000))
    # The consumer
    consumer_batch_events: int = _setting("10000", _whole(1, 1_000_000))
    consumer_batch_ms: int = _setting("500", _whole(1, 60_000))
    # PostgreSQL
    postgres_host: str = _setting("localhost")
    postgres_port: int = _setting("5432", _whole(1, 65_535))
    postgres_database: str = _setting("clickstream")
    postgres_user: str = _setting("postgres")
    postgres_password: str = _setting("", _optional, secret=True)
    postgres_sslmode: str = _setting(
        "prefer", _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    )
    postgres_sslrootcert: str = _setting("", _optional)
    # OpenSearch
    opensearch_host: str = _setting("", _optional)
    opensearch_port: int = _setting("9200", _whole(1, 65_535))
    opensearch_user: str = _setting("", _optional)
    opensearch_password: str = _setting("", _optional, secret=True)
    opensearch_use_ssl: bool = _setting("true", _flag)
    opensearch_cafile: str = _setting("", _optional)
    opensearch_dashboards_url: str = _setting("", _optional)
    # The session rule
    session_timeout_seconds: int = _setting("1800", _whole(1, 10_000_000))
    session_start_events: tuple[str, ...] = _setting("", _names)
    session_end_events: tuple[str, ...] = _setting("", _names)
    max_future_seconds: int = _setting("3600", _whole(0, 1_000_000_000))
    # Simulated traffic
    target_active_users: int = _setting("50", _whole(1, 10_000_000))
    session_duration_min: float = _setting("5", _number(0, 1_000_000))
    session_duration_max: float = _setting("900", _number(1, 1_000_000))
    action_delay_min: float = _setting("1", _number(0, 1_000_000))
    action_delay_max: float = _setting("30", _number(0.001, 1_000_000))
    logout_failure_prob: float = _setting("0.3", _number(0, 1))
    session_inactivity_grace: float = _setting("60", _number(0, 1_000_000))
    num_events: int = _setting("-1", _whole(-1, 10**12))
    # Logging
    log_format: str = _setting("text", _one_of("text", "json"))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> "Settings":
        """Read the settings out of a mapping of variable names to text.

        Unknown names are ignored. All problems are reported in one `UsageError`.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for item in fields(cls):
            name = item.name.upper()
            if name not in mapping:
                continue
            try:
                values[item.name] = item.metadata["parse"](mapping[name])
            except ValueError as error:
                shown = "" if item.metadata["secret"] else f" (it is {mapping[name]!r})"
                problems.append(f"{name} {error}{shown}")
        settings = cls(**values)
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
        if self.kafka_security_protocol.startswith("SASL") and not self.kafka_sasl_username:
            problems.append(
                f"KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs KAFKA_SASL_USERNAME"
            )
        return problems


def load(env_file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the environment over those of a `.env` file.

    env_file: a file that must exist, or None for `.env` in the working directory, if there.
    Raises UsageError with every problem found.
    """
    if env_file is not None and not env_file.is_file():
        raise UsageError(f"the settings file {env_file} does not exist; check --env-file")
    path = env_file or DEFAULT_ENV_FILE
    stored = dotenv_values(path, interpolate=False) if path.is_file() else {}
    filled = {name: value for name, value in stored.items() if value is not None}
    return Settings.from_mapping({**filled, **environment})
