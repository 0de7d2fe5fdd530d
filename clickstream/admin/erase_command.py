"""`python -m clickstream erase` on the command line."""

import argparse
import shlex
from collections.abc import Collection
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from clickstream import cli
from clickstream.admin import erase_visitors
from clickstream.admin.database_command import add_database_command
from clickstream.admin.erase_visitors import Erasure
from clickstream.admin.erasure_journal import JOURNAL_FILE
from clickstream.clients.postgres import Connection, connect_or_explain
from clickstream.errors import UsageError, UserError
from clickstream.model.json_records import BYTE_ORDER_MARK
from clickstream.model.required_fields import is_blank
from clickstream.pasteable import pasteable
from clickstream.plurals import plural
from clickstream.report.as_json import as_json
from clickstream.settings import Settings, load
from clickstream.storage.interruptible import interruptible
from clickstream.untrusted_text import clean, clip

APPLICATION = "clickstream erase"
SHOWN_WIDTH = 50
NOT_ERASED = (
    "Kafka has the records until its retention ends. A consumer that reads them again counts them "
    "as removed; in rejected records that are not JSON it cannot recognise the visitor. "
    "Backups and the write-ahead log have the rows until they expire. The space is used again "
    "after VACUUM, which autovacuum runs."
)


def register(commands: cli.Subparsers) -> None:
    """Register the command."""
    summary = (
        "erase visitors permanently: events, sessions, documents and rejected records, after a "
        "question; exit status 1 while OpenSearch cannot be reached"
    )
    erase = add_database_command(commands, "erase", summary, _erase)
    which = erase.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--user-id", type=_visitor, metavar="ID", help="the visitor, as in the column user_id"
    )
    which.add_argument("--from-file", type=Path, metavar="FILE", help="visitors, one on each line")
    which.add_argument(
        "--again",
        type=Path,
        metavar="FILE",
        help="repeat the erasures of a journal in a database restored from an older backup, before "
        "a consumer starts; does not ask",
    )
    erase.add_argument("--yes", action="store_true", help="do not ask")
    erase.add_argument(
        "--journal",
        type=Path,
        default=JOURNAL_FILE,
        metavar="FILE",
        help="append the hashes of the visitors to this file (default: "
        f"{JOURNAL_FILE.name} beside the scripts)",
    )
    erase.add_argument("--json", action="store_true", help="print the numbers as JSON")


def _visitor(text: str) -> str:
    """Return the id of a visitor, as the type of an option. Raises ArgumentTypeError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("must be UTF-8") from None
    if is_blank(text) or "\0" in text:
        raise argparse.ArgumentTypeError("must not be blank or contain NUL")
    return text


def _erase(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    cli.start_logging(settings.log_format)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        if arguments.again is not None:
            erasure, visitors = interruptible(
                connection, lambda: erase_visitors.erase_again(connection, arguments.again)
            )
        else:
            visitors = _visitors(arguments)
            if not (arguments.yes or _is_confirmed(connection, visitors)):
                print("Nothing was erased.")
                return cli.FAILED
            erasure = interruptible(
                connection, lambda: erase_visitors.erase(connection, visitors, arguments.journal)
            )
    problem = _erase_documents(settings, visitors)
    if arguments.json:
        print(as_json(replace(erasure, is_complete=not problem)))
    else:
        print("\n".join((_sentence(erasure), pasteable(_remedy(erasure)), NOT_ERASED)))
    if problem:
        cli.print_error(problem)
    return cli.FAILED if problem else cli.DONE


def _visitors(arguments: argparse.Namespace) -> set[str]:
    if arguments.user_id is not None:
        return {arguments.user_id}
    path = arguments.from_file
    try:
        lines = path.read_bytes().removeprefix(BYTE_ORDER_MARK).split(b"\n")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; check --from-file") from None
    visitors = set()
    for number, line in enumerate(lines, 1):
        try:
            text = line.removesuffix(b"\r").decode()
            if not is_blank(text):
                visitors.add(_visitor(text))
        except (UnicodeDecodeError, argparse.ArgumentTypeError):
            raise UsageError(
                f"line {number} of {path} is not an id: it must be UTF-8 without NUL"
            ) from None
    if not visitors:
        raise UsageError(f"{path} has no ids; write one on each line")
    return visitors


def _is_confirmed(connection: Connection, visitors: Collection[str]) -> bool:
    stored = erase_visitors.count(connection, visitors)
    number = len(visitors)
    what = (
        f"{number:,} {plural(number, 'visitor')}"
        if number > 1
        else f"visitor {clip(next(iter(visitors)), SHOWN_WIDTH)}"
    )
    numbers = (
        f"{stored.events:,} {plural(stored.events, 'event')} in {stored.sessions:,} "
        f"{plural(stored.sessions, 'session')}"
    )
    return cli.is_confirmed(
        f"Erase {what} ({numbers}, and rejected records) permanently?",
        f"{numbers} would be erased",
    )


def _erase_documents(settings: Settings, visitors: Collection[str]) -> str:
    """Erase the documents of visitors; return what is left to do, "" if nothing is."""
    from clickstream.admin import search_commands  # slow to import

    try:
        if settings.opensearch_host:
            search_commands.remove_erased(settings, visitors)
        elif search_commands.is_indexed(settings):
            return (
                "the rows are erased, but this database has a search index, and OPENSEARCH_HOST is "
                "empty here: set it and run the same command again"
            )
    except UserError as error:
        return (
            "the rows are erased, but documents may be left in the search index: "
            f"{error}; then run the same command again, until it exits with 0"
        )
    return ""


def _sentence(erasure: Erasure) -> str:
    visitors, sessions = erasure.visitors, erasure.sessions
    events, rejected = erasure.events, erasure.rejected
    return (
        f"Erased {visitors:,} {plural(visitors, 'visitor')}: {events:,} {plural(events, 'event')} "
        f"in {sessions:,} {plural(sessions, 'session')}, and {rejected:,} rejected "
        f"{plural(rejected, 'record')}."
    )


def _remedy(erasure: Erasure) -> str:
    """Return what to do after an older backup was restored."""
    return (
        "Keep a copy of the journal apart from the database. After an older backup was restored: "
        f"python -m clickstream erase --again {shlex.quote(clean(erasure.journal))}"
    )
