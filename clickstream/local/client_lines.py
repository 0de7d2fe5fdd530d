"""Command lines that look into the running local servers, for people to paste."""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from clickstream.local.postgres_server import PACKAGE, PROGRAMS, password_file
from clickstream.local.wheels import installed


def client_lines(stack: Path, environment: Mapping[str, str]) -> list[str]:
    """Return a line of psql and, if there is a search server, one of curl.

    stack: the folder of the servers. environment: their settings. The line of psql reads the
    password from its file, so that no terminal shows it.
    """
    lines = []
    if "POSTGRES_PORT" in environment:
        psql = shutil.which("psql") or str(installed(PACKAGE, f"{PROGRAMS}/psql"))
        password = shlex.quote(str(_short(password_file(stack))))
        lines.append(
            f'PGPASSWORD="$(cat {password})" {shlex.quote(_short_program(psql))} '
            f"-h {environment['POSTGRES_HOST']} -p {environment['POSTGRES_PORT']} "
            f"-U {environment['POSTGRES_USER']} {environment['POSTGRES_DATABASE']}"
        )
    if "OPENSEARCH_PORT" in environment:
        address = f"{environment['OPENSEARCH_HOST']}:{environment['OPENSEARCH_PORT']}"
        lines.append(f"curl -s 'http://{address}/_cat/indices?v'")
    return lines


def _short_program(path: str) -> str:
    """Return the name of a program that the shell finds under it, else its path."""
    name = Path(path).name
    return name if shutil.which(name) == path else str(_short(Path(path)))


def _short(path: Path) -> Path:
    """Return a path relative to the working directory if it is in it."""
    folder = Path.cwd()
    return path.relative_to(folder) if path.is_relative_to(folder) else path
