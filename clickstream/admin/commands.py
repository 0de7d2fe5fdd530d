"""`python -m clickstream rejected`, `positions` and `search`, as the command line sees them."""

import argparse
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg2

from clickstream import cli
from clickstream.admin import (
    dashboards,
    position_commands,
    rejected_records,
    retry_rejected,
    search_commands,
)
from clickstream.admin.rejected_records import Selection
from clickstream.clients.postgres import connect_or_explain
from clickstream.errors import UsageError, UserError, first_line
from clickstream.settings import Settings, load
from clickstream.storage.outcomes import OutcomeKind

APPLICATION = "clickstream operations"


def register(commands: cli.Subparsers) -> None:
    """Register the commands."""
    actions = cli.add_command_group(commands, "rejected", "records that could not become an event")
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

    actions = cli.add_command_group(commands, "positions", "what has been read of each partition")
    _add(actions, "show", "positions and counters by partition", _show_positions)
    reset = _add(actions, "reset", "make consumers read the topic again; safe", _reset_positions)
    reset.add_argument("--to", choices=["earliest"], required=True, help="from where")

    actions = cli.add_command_group(commands, "search", "the index in OpenSearch")
    text = "compare the index with PostgreSQL; exit status 1 on any difference"
    _add(actions, "verify", text, _verify_index)
    text = "make the index anew from PostgreSQL, also while a consumer runs"
    _add(actions, "rebuild", text, _rebuild_index)

    actions = cli.add_command_group(commands, "dashboards", "dashboards of OpenSearch Dashboards")
    text = "import dashboards/clickstream.ndjson, replacing an earlier import"
    _add(actions, "import", text, _import_dashboards)


def _add(
    actions: cli.Subparsers, name: str, text: str, command: cli.Command
) -> argparse.ArgumentParser:
    action = cli.add_command(actions, name, text, partial(_explained, command))
    cli.add_env_file(action)
    return action


def _explained(command: cli.Command, arguments: argparse.Namespace) -> int:
    try:
        return command(arguments)
    except psycopg2.Error as error:
        raise UserError(f"PostgreSQL: {first_line(error)}") from None


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
        lines = rejected_records.list_rejected(
            connection, Selection(reason=arguments.reason), arguments.limit
        )
        lines += rejected_records.list_refused_documents(connection, arguments.limit)
    print("\n".join(lines))
    return cli.DONE


def _show(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        lines = rejected_records.show_rejected(connection, Selection(place=arguments.place))
    print("\n".join(lines) or "No record was rejected there.")
    return cli.DONE if lines else cli.FAILED


def _retry(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        retried = retry_rejected.retry(
            connection,
            Selection(arguments.reason, arguments.place),
            now=datetime.now(UTC),
            max_future=timedelta(seconds=settings.max_future_seconds),
        )
    print(
        f"{retried[OutcomeKind.NEW]:,} records became events, "
        f"{retried[OutcomeKind.DUPLICATE]:,} were duplicates, "
        f"{retried[OutcomeKind.REJECTED]:,} stay rejected."
    )
    if settings.opensearch_host and not (arguments.place or arguments.reason):
        before, after = search_commands.retry_refused(settings)
        if before:
            print(f"{before:,} refused documents were sent again, {after:,} stay refused.")
    return cli.DONE


def _show_positions(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        print("\n".join(position_commands.table(connection)))
    return cli.DONE


def _reset_positions(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with closing(connect_or_explain(settings, application=APPLICATION)) as connection:
        partitions = position_commands.reset(connection, settings.kafka_topic)
    print(
        f"{partitions} partitions of topic {settings.kafka_topic} will be read again from their "
        "beginning_offsets; what is stored already will be counted as duplicates."
    )
    return cli.DONE


def _verify_index(arguments: argparse.Namespace) -> int:
    settings = _with_search(arguments)
    verification = search_commands.verify(settings)
    if not verification.differences.number:
        print(f"Verified {verification.documents:,} documents: OpenSearch matches PostgreSQL.")
        return cli.DONE
    print("\n".join(verification.differences.lines()))
    print(f"Compared {verification.documents:,} documents of PostgreSQL with OpenSearch.")
    return cli.FAILED


def _rebuild_index(arguments: argparse.Namespace) -> int:
    settings = _with_search(arguments)
    print(search_commands.rebuild(settings))
    return cli.DONE


def _with_search(arguments: argparse.Namespace) -> Settings:
    settings = load(arguments.env_file)
    cli.start_logging(settings.log_format)
    if not settings.opensearch_host:
        raise UsageError("OPENSEARCH_HOST is empty, so there is no index; set it in .env")
    return settings


def _import_dashboards(arguments: argparse.Namespace) -> int:
    print(dashboards.import_dashboards(load(arguments.env_file)))
    return cli.DONE
