"""`python -m clickstream rejected` and `positions`, as the command line sees them."""

import argparse
from contextlib import closing
from datetime import UTC, datetime, timedelta

from clickstream import script
from clickstream.errors import UsageError
from clickstream.operations import positions, rejected, retry
from clickstream.operations.rejected import Choice
from clickstream.servers.postgres import connect_or_explain
from clickstream.settings import load

APPLICATION = "clickstream operations"


def register(subparsers: script.Subparsers) -> None:
    """Add the commands."""
    rejections = subparsers.add_parser("rejected", help="records that could not become an event")
    actions = rejections.add_subparsers(metavar="ACTION", required=True)
    listing = _add(actions, "list", "how many there are by reason, and the newest", _list)
    listing.add_argument("--reason", help="only those of this reason, e.g. not_json")
    listing.add_argument(
        "--limit", type=int, default=20, metavar="N", help="how many to list (default: 20)"
    )
    show = _add(actions, "show", "one of them whole, with its raw bytes", _show)
    show.add_argument("place", type=_place, metavar="PARTITION:OFFSET", help="which one")
    again = _add(
        actions, "retry", "store those that have become events since, each once; safe", _retry
    )
    again.add_argument(
        "place", nargs="?", type=_place, metavar="PARTITION:OFFSET", help="one (default: all)"
    )
    again.add_argument("--reason", help="only those of this reason")

    stored = subparsers.add_parser("positions", help="what has been read of each partition")
    actions = stored.add_subparsers(metavar="ACTION", required=True)
    _add(actions, "show", "positions and counters by partition", _show_positions)
    reset = _add(actions, "reset", "make consumers read the topic again; safe", _reset_positions)
    reset.add_argument("--to", choices=["earliest"], required=True, help="from where")


def _add(
    actions: script.Subparsers, name: str, text: str, command: script.Command
) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    script.add_env_file(action)
    action.set_defaults(command=command)
    return action


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not PARTITION:OFFSET, e.g. 3:1042")
    return int(partition), int(offset)


def _list(arguments: argparse.Namespace) -> int:
    if arguments.limit < 0:
        raise UsageError("--limit must not be negative")
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        lines = rejected.listing(connection, Choice(reason=arguments.reason), arguments.limit)
    print("\n".join(lines))
    return script.DONE


def _show(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        lines = rejected.details(connection, Choice(place=arguments.place))
    print("\n".join(lines) or "No record was rejected there.")
    return script.DONE if lines else script.FAILED


def _retry(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        retried = retry.retry(
            connection,
            Choice(arguments.reason, arguments.place),
            now=datetime.now(UTC),
            max_future=timedelta(seconds=settings.max_future_seconds),
        )
    print(
        f"{retried.stored:,} records became events, {retried.duplicates:,} were duplicates, "
        f"{retried.refused:,} stay rejected."
    )
    return script.DONE


def _show_positions(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        print("\n".join(positions.table(connection)))
    return script.DONE


def _reset_positions(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        partitions = positions.reset(connection, settings.kafka_topic)
    print(
        f"{partitions} partitions of topic {settings.kafka_topic} will be read again from their "
        "beginnings; what is stored already will be counted as duplicates."
    )
    return script.DONE
