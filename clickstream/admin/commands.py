"""`python -m clickstream rejected`, `positions`, `search` and others on the command line.

The code behind a command is imported when the command runs, because its libraries are slow to
import.
"""

import argparse
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime

from clickstream import cli
from clickstream.admin import erase_command, position_commands, retain_command
from clickstream.admin.database_command import add_database_command
from clickstream.clients.postgres import Connection, connect_or_explain
from clickstream.errors import UsageError
from clickstream.pasteable import pasteable
from clickstream.plurals import plural
from clickstream.reading_settings import reading_of
from clickstream.report.as_json import as_json
from clickstream.settings import Settings, load
from clickstream.storage.rejected_table import describe_reasons

APPLICATION = "clickstream admin"
LOCATION = "PARTITION:OFFSET"


def register(commands: cli.Subparsers) -> None:
    """Register the commands."""
    _register_rejected(commands)
    _register_positions(commands)
    _register_search(commands)
    erase_command.register(commands)
    retain_command.register(commands)
    _register_user_agents(commands)


def _register_rejected(commands: cli.Subparsers) -> None:
    summary = "list, show, retry and delete records that could not become an event"
    actions = cli.add_command_group(commands, "rejected", summary)
    summary = "list the number of records by reason, and the newest records"
    listing = add_database_command(actions, "list", summary, _list)
    listing.add_argument("--reason", help="list only records with this reason, such as not_json")
    listing.add_argument(
        "--limit", type=int, default=20, metavar="N", help="records to list (default: 20)"
    )
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = add_database_command(actions, "show", "show one record with its raw bytes", _show)
    show.add_argument("location", type=_location, metavar=LOCATION, help="the record to show")
    summary = "try rejected records again: those that are valid now are stored, each once"
    _add_selection(add_database_command(actions, "retry", summary, _retry), "retry")
    summary = "delete rejected records with their bytes, after a question"
    delete = add_database_command(actions, "delete", summary, _delete)
    _add_selection(delete, "delete")
    delete.add_argument("--yes", action="store_true", help="do not ask")


def _add_selection(parser: argparse.ArgumentParser, verb: str) -> None:
    """Give a command the arguments that select rejected records. verb: what it does with them."""
    text = f"the record to {verb} (default: all)"
    parser.add_argument("location", nargs="?", type=_location, metavar=LOCATION, help=text)
    parser.add_argument("--reason", help=f"{verb} only records with this reason")


def _register_positions(commands: cli.Subparsers) -> None:
    summary = "show, reset and forget the positions up to which partitions were read"
    actions = cli.add_command_group(commands, "positions", summary)
    summary = "show positions and counters by partition"
    show = add_database_command(actions, "show", summary, _show_positions)
    show.add_argument("--json", action="store_true", help="print JSON")
    summary = "make consumers read the topic again; stored events become duplicates"
    reset = add_database_command(actions, "reset", summary, _reset_positions)
    reset.add_argument("--to", choices=["earliest"], required=True, help="where to start reading")
    reset.add_argument(
        "--yes", action="store_true", help="do it even if EVENT_FIELDS has changed names of fields"
    )
    summary = "forget partitions that Kafka no longer has; their counters are kept"
    forget = add_database_command(actions, "forget", summary, _forget_positions)
    forget.add_argument("topic", metavar="TOPIC", help="the topic of the partitions")
    forget.add_argument(
        "--partition", type=int, metavar="N", help="only this partition (default: all)"
    )


def _register_search(commands: cli.Subparsers) -> None:
    summary = "verify and rebuild the index in OpenSearch"
    actions = cli.add_command_group(commands, "search", summary)
    summary = "compare the index with PostgreSQL; exit status 1 on any difference"
    add_database_command(actions, "verify", summary, _verify_index)
    summary = "rebuild the index from PostgreSQL; you can leave consumers running"
    rebuilding = add_database_command(actions, "rebuild", summary, _rebuild_index)
    rebuilding.add_argument(
        "--take-over",
        action="store_true",
        help="also delete indexes with these names that another database or program made",
    )

    summary = "import the dashboards into OpenSearch Dashboards"
    actions = cli.add_command_group(commands, "dashboards", summary)
    text = "import dashboards/clickstream.ndjson, replacing an earlier import"
    add_database_command(actions, "import", text, _import_dashboards)


def _register_user_agents(commands: cli.Subparsers) -> None:
    actions = cli.add_command_group(
        commands, "user-agents", "refresh the browsers, operating systems and bots of the sessions"
    )
    summary = (
        "parse the user agents of stored events that are missing or were parsed by other rules, "
        "and delete those that no event has"
    )
    add_database_command(actions, "refresh", summary, _refresh_user_agents)


def _location(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not {LOCATION}, such as 3:1042")
    return int(partition), int(offset)


def _connect(settings: Settings) -> closing[Connection]:
    return closing(connect_or_explain(settings, application=APPLICATION))


def _list(arguments: argparse.Namespace) -> int:
    from clickstream.admin import rejected_records

    if arguments.limit < 0:
        raise UsageError("--limit must not be negative")
    selection = rejected_records.Selection(reason=arguments.reason)
    with _connect(load(arguments.env_file)) as connection:
        found = rejected_records.read_list(connection, selection, arguments.limit)
    lines = rejected_records.list_lines(found, selection)
    print(as_json(found) if arguments.json else "\n".join(lines))
    return cli.DONE


def _show(arguments: argparse.Namespace) -> int:
    from clickstream.admin.rejected_records import Selection, show_rejected

    with _connect(load(arguments.env_file)) as connection:
        lines = show_rejected(connection, Selection(location=arguments.location))
    print("\n".join(lines) or "No record was rejected there.")
    return cli.DONE if lines else cli.FAILED


def _retry(arguments: argparse.Namespace) -> int:
    from clickstream.admin import retry_rejected
    from clickstream.admin.rejected_records import Selection
    from clickstream.storage.outcomes import OutcomeKind

    settings = load(arguments.env_file)
    with _connect(settings) as connection:
        kinds = retry_rejected.retry(
            connection,
            Selection(arguments.reason, arguments.location),
            now=datetime.now(UTC),
            reading=reading_of(settings),
        )
    new, duplicates = kinds[OutcomeKind.NEW], kinds[OutcomeKind.DUPLICATE]
    removed = f", {kinds[OutcomeKind.REMOVED]:,} removed" if kinds[OutcomeKind.REMOVED] else ""
    print(
        f"Tried again: {new:,} new {plural(new, 'event')}, "
        f"{duplicates:,} {plural(duplicates, 'duplicate')}, "
        f"{kinds[OutcomeKind.REJECTED]:,} still rejected{removed}."
    )
    if settings.opensearch_host and not (arguments.location or arguments.reason):
        from clickstream.admin import search_commands

        before, after = search_commands.retry_refused(settings)
        if before:
            sent = f"{before:,} refused {plural(before, 'document')}"
            print(f"Sent {sent} again; {after:,} still refused.")
    return cli.DONE


def _delete(arguments: argparse.Namespace) -> int:
    from clickstream.admin import delete_rejected, rejected_records

    selection = rejected_records.Selection(arguments.reason, arguments.location)
    with _connect(load(arguments.env_file)) as connection:
        selected = rejected_records.count_by_reason(connection, selection)
        if selected and not (arguments.yes or _is_deletion_confirmed(selected)):
            print("Nothing was deleted.")
            return cli.FAILED
        deleted = delete_rejected.delete(connection, selection) if selected else {}
    reasons = f" ({describe_reasons(deleted)})" if deleted else ""
    number = sum(deleted.values())
    print(f"Deleted {number:,} rejected {plural(number, 'record')}{reasons}.")
    return cli.DONE


def _is_deletion_confirmed(selected: Mapping[str, int]) -> bool:
    number = sum(selected.values())
    what = f"{number:,} rejected {plural(number, 'record')} ({describe_reasons(selected)})"
    return cli.is_confirmed(
        f"Delete {what} and their bytes permanently?", f"{what} would be deleted"
    )


def _show_positions(arguments: argparse.Namespace) -> int:
    with _connect(load(arguments.env_file)) as connection:
        stored = position_commands.read_positions(connection)
    lines = position_commands.position_lines(stored)
    print(as_json(stored) if arguments.json else "\n".join(lines))
    return cli.DONE


def _forget_positions(arguments: argparse.Namespace) -> int:
    from clickstream.admin import forget_positions

    settings = load(arguments.env_file)
    with _connect(settings) as connection:
        number = forget_positions.forget(connection, settings, arguments.topic, arguments.partition)
    print(f"Forgot {number} {plural(number, 'partition')} of topic {arguments.topic}.")
    return cli.DONE


def _reset_positions(arguments: argparse.Namespace) -> int:
    settings = load(arguments.env_file)
    with _connect(settings) as connection:
        partitions = position_commands.reset(
            connection, settings.kafka_topic, confirmed=arguments.yes
        )
    which = f"{partitions} {plural(partitions, 'partition')} of topic {settings.kafka_topic}"
    print(
        f"{which} will be read again from the beginning; events that are stored already will be "
        "counted as duplicates."
    )
    return cli.DONE


def _verify_index(arguments: argparse.Namespace) -> int:
    from clickstream.admin import search_commands

    verification = search_commands.verify(_load_with_search(arguments))
    if verification.refused:
        refused = f"{verification.refused:,} {plural(verification.refused, 'document')}"
        sentence = (
            f"Not compared: {refused} that OpenSearch refused for the content; to list them: "
            "python -m clickstream rejected list"
        )
        print(pasteable(sentence))
    documents = f"{verification.documents:,} {plural(verification.documents, 'document')}"
    if not verification.differences.number:
        print(f"Verified {documents}: OpenSearch matches PostgreSQL.")
        return cli.DONE
    print("\n".join(verification.differences.lines()))
    print(f"Compared {documents} of PostgreSQL with OpenSearch.")
    return cli.FAILED


def _rebuild_index(arguments: argparse.Namespace) -> int:
    from clickstream.admin import search_commands

    settings = _load_with_search(arguments)
    print(search_commands.rebuild(settings, take_over=arguments.take_over))
    return cli.DONE


def _load_with_search(arguments: argparse.Namespace) -> Settings:
    settings = load(arguments.env_file)
    cli.start_logging(settings.log_format)
    if not settings.opensearch_host:
        raise UsageError("OPENSEARCH_HOST is empty, so there is no index; set it in .env")
    return settings


def _refresh_user_agents(arguments: argparse.Namespace) -> int:
    from clickstream.admin import refresh_user_agents

    done = refresh_user_agents.refresh(load(arguments.env_file))
    print(
        f"User agents: {done.added:,} added, {done.updated:,} parsed again, {done.deleted:,} "
        f"deleted that no event has. Rules: {done.rules_version}."
    )
    return cli.DONE


def _import_dashboards(arguments: argparse.Namespace) -> int:
    from clickstream.admin import dashboards

    print(dashboards.import_dashboards(load(arguments.env_file)))
    return cli.DONE
