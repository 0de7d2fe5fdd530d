"""Command lines: registering commands, common options, exit statuses, error texts, logging."""

import argparse
import errno
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from clickstream import __version__
from clickstream.errors import UsageError, UserError
from clickstream.pasteable import pasteable
from clickstream.script_start import end_imports
from clickstream.untrusted_text import clean

logger = logging.getLogger("clickstream")

DONE, FAILED, MISUSE = 0, 1, 2

Command = Callable[[argparse.Namespace], int]
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_commands(parser: argparse.ArgumentParser, metavar: str) -> Subparsers:
    """Make a parser expect a command, and return the list that `add_command` adds to.

    Without a command it prints its help to stderr and exits with 2.
    """

    def misused(_: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return MISUSE

    parser.set_defaults(command=misused)
    return parser.add_subparsers(title="commands", metavar=metavar)


def add_command(
    commands: Subparsers, name: str, summary: str, command: Command
) -> argparse.ArgumentParser:
    """Register a command and return its parser, for the options of the command.

    summary: the line about it in the list of commands and at the top of its own help.
    command: gets the parsed arguments and returns the exit status.
    """
    parser = commands.add_parser(name, help=summary, description=_sentence(summary))
    parser.set_defaults(command=command)
    return parser


def add_command_group(commands: Subparsers, name: str, summary: str) -> Subparsers:
    """Register a command that has commands of its own, and return the list of those."""
    parser = commands.add_parser(name, help=summary, description=_sentence(summary))
    return add_commands(parser, "ACTION")


def _sentence(summary: str) -> str:
    return f"{summary[:1].upper()}{summary[1:]}."


def add_version(parser: argparse.ArgumentParser) -> None:
    """Give a parser the option --version, which prints the version and exits with 0."""
    parser.add_argument(
        "--version",
        action="version",
        version=f"clickstream {__version__}",
        help="print the version and exit",
    )


def add_env_file(parser: argparse.ArgumentParser) -> None:
    """Give a parser the option --env-file, which names the settings file."""
    parser.add_argument(
        "--env-file",
        type=Path,
        metavar="PATH",
        help="settings file to read instead of .env (environment variables take precedence)",
    )


def is_confirmed(question: str, otherwise: str) -> bool:
    """Ask a question, and return True if the answer is yes.

    otherwise: the error if nobody can answer, without the advice to add --yes. Raises UsageError.
    """
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print(file=sys.stderr)
        raise UsageError(f"{otherwise}; add --yes to do it")
    return answer.strip().lower() in {"y", "yes"}


def port(text: str) -> int:
    """Read a TCP port, as the type of an option. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def run(main: Callable[[], int]) -> int:
    """Call `main` and turn every error that a user can cause into a sentence and a status.

    If the reader of standard output has ended, as `head` does, the status is FAILED.
    """
    end_imports()
    try:
        with _interrupts():
            try:
                return main()
            finally:
                sys.stdout.flush()
    except UserError as error:
        print_error(str(error))
        return MISUSE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _discard_output()
        return FAILED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        print_error(f"the output cannot be written ({error.strerror}); free some space on the disk")
        return FAILED


@contextmanager
def _interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C in this context, if it would end the process at once."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _discard_output() -> None:
    """Discard what is still buffered; Python would fail to write it at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def print_error(sentence: str) -> None:
    """Print a sentence about an error to stderr, as a JSON object if logs are JSON.

    Before the settings are read, the LOG_FORMAT of the environment decides.
    """
    sentence = pasteable(clean(sentence))
    if os.environ.get("LOG_FORMAT") == "json":
        start_logging("json")
    if any(isinstance(each.formatter, _JsonFormatter) for each in logging.getLogger().handlers):
        logger.error("%s", sentence)
    else:
        print(f"error: {sentence}", file=sys.stderr)


class _TextFormatter(logging.Formatter):
    """Formats a record as one line, and an exception below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of the base class
        return pasteable(clean(super().formatMessage(record)))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": pasteable(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def start_logging(log_format: str) -> None:
    """Log to stderr, as text or as one JSON object per line; libraries only from warnings up.

    A JSON object also has the fields that a log call gives: `extra={"fields": {...}}`. An exception
    that nothing catches is logged as JSON, too.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(
        _JsonFormatter()
        if log_format == "json"
        else _TextFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    sys.excepthook = partial(
        _show_exception, _log_exception if log_format == "json" else sys.__excepthook__
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("clickstream").setLevel(logging.INFO)
    # They log every attempt to connect; the scripts say once what is wrong.
    for library in ("kafka", "opensearch"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _show_exception(
    show: Callable[..., object],
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    """Call `show`, unless the error is one that psycopg2 itself prints before it raises another.

    It does so if PostgreSQL ends during COPY, and thus reports two errors.
    """
    is_printed = kind is SystemError and type(error.__cause__).__module__ == "psycopg2.errors"
    if not is_printed:
        show(kind, error, traceback)


def _log_exception(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    logger.critical("stopped by %s", kind.__name__, exc_info=(kind, error, traceback))
