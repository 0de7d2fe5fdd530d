"""Sources of the settings: the environment and `.env`.

The environment takes precedence over `.env`. All details of one server come from one source, so
that a password never reaches a server that it does not belong to: if the environment sets one of
them, those in `.env` are not used.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clickstream.env_file import read_env_file
from clickstream.errors import UsageError

ENV_FILE = ".env"
SCRIPTS_FOLDER = Path(__file__).parents[1]
FILE_NAME_SETTINGS = (
    "KAFKA_SSL_CAFILE",
    "KAFKA_SSL_CERTFILE",
    "KAFKA_SSL_KEYFILE",
    "POSTGRES_SSLROOTCERT",
    "OPENSEARCH_CAFILE",
)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings that describe one server.

    address: the setting that names the server, without which the others are useless.
    others: the other settings.
    url: the setting that may hold all details in one URL, or "".
    """

    address: str
    others: tuple[str, ...]
    url: str = ""

    @property
    def parts(self) -> frozenset[str]:
        """All settings but the URL."""
        return frozenset({self.address, *self.others})

    @property
    def names(self) -> frozenset[str]:
        """All settings."""
        return self.parts | ({self.url} if self.url else set())

    def is_named(self, mapping: Mapping[str, str]) -> bool:
        """Return True if the mapping names the server, by its address or by its URL."""
        return self.address in mapping or self.url in mapping


KAFKA = ServerSettings(
    "KAFKA_BOOTSTRAP_SERVERS",
    (
        "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_SSL_CAFILE",
        "KAFKA_SSL_CERTFILE",
        "KAFKA_SSL_KEYFILE",
        "KAFKA_CA_CERT",
        "KAFKA_ACCESS_CERT",
        "KAFKA_ACCESS_KEY",
        "KAFKA_SASL_MECHANISM",
        "KAFKA_SASL_USERNAME",
        "KAFKA_SASL_PASSWORD",
    ),
)
POSTGRES = ServerSettings(
    "POSTGRES_HOST",
    (
        "POSTGRES_PORT",
        "POSTGRES_DATABASE",
        "POSTGRES_USER",
        "POSTGRES_PASSWORD",
        "POSTGRES_SSLMODE",
        "POSTGRES_SSLROOTCERT",
    ),
    "DATABASE_URL",
)
OPENSEARCH = ServerSettings(
    "OPENSEARCH_HOST",
    (
        "OPENSEARCH_PORT",
        "OPENSEARCH_USER",
        "OPENSEARCH_PASSWORD",
        "OPENSEARCH_USE_SSL",
        "OPENSEARCH_CAFILE",
    ),
    "OPENSEARCH_URI",
)
SERVERS = (KAFKA, POSTGRES, OPENSEARCH)


@dataclass(frozen=True, slots=True)
class Origins:
    """The source of each setting, for messages.

    by_name: for example "DATABASE_URL in the environment", by the name of the setting.
    default: the source of all other settings.
    """

    by_name: Mapping[str, str] = field(default_factory=dict)
    default: str = ""

    def of(self, name: str) -> str:
        """Return the source of a setting; "" if the settings were not loaded from sources."""
        return self.by_name.get(name, self.default)


UNKNOWN_ORIGINS = Origins()


@dataclass(frozen=True, slots=True)
class Sources:
    """The variables of the environment and of the `.env` file, by name.

    env_file: the file that was read, or None.
    searched: the folders without a `.env`, if none was read.
    """

    environment: Mapping[str, str] = field(repr=False)
    file: Mapping[str, str] = field(repr=False)
    env_file: Path | None
    searched: tuple[Path, ...]

    def unused(self) -> list[str]:
        """Return the names in the file that are not used, sorted.

        They are details of a server of which the environment sets at least one detail.
        """
        return sorted(
            name
            for server in SERVERS
            if server.names & self.environment.keys()
            for name in server.names & self.file.keys()
        )

    def values(self) -> dict[str, str]:
        """Return the variables to use, by name.

        Raises UsageError if the environment sets only some details of a server and the file names
        the server.
        """
        for server in SERVERS:
            self._refuse_mixture(server)
        used = {name: self._path(name) for name in self.file.keys() - set(self.unused())}
        return {**used, **self.environment}

    def origins(self) -> Origins:
        """Return the source of each variable."""
        in_file = self.file.keys() - set(self.unused())
        by_name = {name: f"{name} in {self.env_file}" for name in in_file}
        by_name |= {name: f"{name} in the environment" for name in self.environment}
        for server in SERVERS:
            if server.url in by_name and not server.parts & by_name.keys():
                by_name |= dict.fromkeys(server.parts, by_name[server.url])
        if self.env_file:
            return Origins(by_name, f"the default: {self.env_file} does not set it")
        folders = " or ".join(map(str, self.searched))
        return Origins(by_name, f"the default: no {ENV_FILE} in {folders}")

    def _refuse_mixture(self, server: ServerSettings) -> None:
        partial = sorted(server.names & self.environment.keys())
        if partial and not server.is_named(self.environment) and server.is_named(self.file):
            raise UsageError(
                f"the environment sets {', '.join(partial)} and {self.env_file} the rest of the "
                f"server's details; all details of a server must come from one of the two: set "
                f"{server.address} in the environment too, or unset {', '.join(partial)} there"
            )

    def _path(self, name: str) -> str:
        """Return a value of the file; a relative path is relative to the scripts' `.env`."""
        value = self.file[name]
        beside_scripts = self.env_file == SCRIPTS_FOLDER / ENV_FILE
        if name not in FILE_NAME_SETTINGS or value in ("", "system") or not beside_scripts:
            return value
        return str(SCRIPTS_FOLDER / value)


def working_directory() -> Path | None:
    """Return the working directory; None if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def find(env_file: Path | None, environment: Mapping[str, str]) -> Sources:
    """Read the sources.

    env_file: the file of the option --env-file, which must exist; None for `.env` in the working
    directory or, if there is none, in the folder of the scripts.
    Raises UsageError if the file does not exist or cannot be read or parsed.
    """
    if env_file is not None and not env_file.is_file():
        raise UsageError(f"the settings file {env_file} does not exist; check --env-file")
    folders = tuple(dict.fromkeys(filter(None, (working_directory(), SCRIPTS_FOLDER))))
    found = (folder / ENV_FILE for folder in folders if (folder / ENV_FILE).is_file())
    path = env_file or next(found, None)
    return Sources(environment, read_env_file(path) if path else {}, path, folders)


def warn_if_overruled(
    path: Path, written: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    """Warn on stderr of environment variables that override settings written to a `.env` file."""
    names = {name for name, value in written.items() if environment.get(name, value) != value}
    for server in SERVERS:
        parts = {name: written[name] for name in server.names & written.keys()}
        if parts and parts != {name: environment.get(name) for name in parts}:
            names |= server.names & environment.keys()
    if names:
        print(
            f"warning: the environment sets {', '.join(sorted(names))} and overrides {path}: "
            "the scripts will use other servers; unset the variables",
            file=sys.stderr,
        )
