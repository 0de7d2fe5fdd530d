#!/usr/bin/env python3
"""Read click events from Kafka, keep exact sessions in PostgreSQL and an index in OpenSearch."""

from clickstream.script_start import begin_script

if __name__ == "__main__":
    begin_script()  # before the other imports, which take a moment

import argparse
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from random import Random

from clickstream import __version__, cli
from clickstream.clients.kafka_handshake import describe_unsafe_key
from clickstream.consumer.consumer import Consumer
from clickstream.consumer.drain import Drain
from clickstream.consumer.health import Health
from clickstream.consumer.memory import collect_rarely, give_back_large_buffers
from clickstream.consumer.metrics import Metrics
from clickstream.consumer.metrics_server import serving_metrics
from clickstream.consumer.user_agent_thread import parsing_user_agents
from clickstream.indexer import backlog
from clickstream.settings import Settings, load
from clickstream.signals import Stop

logger = logging.getLogger("clickstream.consumer")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; everything else is a setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_version(parser)
    cli.add_env_file(parser)
    parser.add_argument(
        "--drain",
        action="store_true",
        help="stop when everything that is in the topic at the start is stored and, if "
        "OPENSEARCH_HOST is set, indexed",
    )
    parser.add_argument(
        "--metrics-port",
        type=cli.port,
        metavar="N",
        help="serve /metrics for Prometheus, /livez and /readyz on this TCP port of all addresses "
        "(default: no port)",
    )
    return parser


def consume(arguments: argparse.Namespace) -> int:
    """Consume until a signal, or until the topic is drained."""
    collect_rarely()
    give_back_large_buffers()
    settings = load(arguments.env_file)
    cli.start_logging(settings.log_format)
    _log_start(settings)
    stop = Stop().on_signals()
    now = partial(datetime.now, UTC)
    metrics, health = Metrics(now), Health()
    drain = Drain() if arguments.drain else None
    with ExitStack() as resources:
        consumer = Consumer(
            settings,
            stop,
            drain,
            random=Random(),
            now=now,
            metrics=metrics,
            health=health,
            new_user_agents=resources.enter_context(parsing_user_agents(settings)),
            read_backlog=backlog.read if settings.opensearch_host else None,
        )
        if arguments.metrics_port is not None:
            server = serving_metrics(arguments.metrics_port, metrics.registry, health)
            resources.enter_context(server)
        if not settings.opensearch_host:
            logger.info("OPENSEARCH_HOST is empty: nothing is indexed into OpenSearch")
            consumer.run()
            return cli.DONE
        # Its imports are a quarter of the time to start, which only search needs.
        from clickstream.indexer.background import running_indexer

        indexer = resources.enter_context(running_indexer(settings, lambda: health.is_behind))
        consumer.run()
        if drain and not stop.requested and indexer.catch_up(stop):
            logger.info("everything that is stored is indexed")
    return cli.DONE


def _log_start(settings: Settings) -> None:
    fields = {
        "version": __version__,
        "group": settings.kafka_group_id,
        "topic": settings.kafka_topic,
        "database": settings.postgres_database,
    }
    logger.info(
        "clickstream %s: group %s reads topic %s into database %s",
        *fields.values(),
        extra={"fields": fields},
    )
    if unsafe := describe_unsafe_key(settings):
        logger.warning("%s", unsafe)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    return cli.run(lambda: consume(build_parser().parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
