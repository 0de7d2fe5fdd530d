"""Running the collector until it is stopped."""

import logging
import socket
from functools import partial

from confluent_kafka import KafkaException

from clickstream.collector.app import Collector, build_app
from clickstream.collector.http_server import http_server, listening_socket
from clickstream.collector.kafka_delivery import KafkaDelivery
from clickstream.collector.librdkafka import AnsweringProducer, create_producer
from clickstream.collector.own_session import session_route
from clickstream.collector.website_files import SHOP_ROUTES
from clickstream.errors import UsageError, UserError
from clickstream.model.reading import Reading
from clickstream.reading_settings import reading_of
from clickstream.sending.kafka_producer import check_topic
from clickstream.settings import Settings

logger = logging.getLogger(__name__)


def run(settings: Settings, host: str, port: int, *, with_shop: bool = False) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests that have begun, and stop.

    with_shop: serve the demo shop, too, which reads the visitor's session from PostgreSQL.
    Raises UserError if the address cannot be used or Kafka cannot be reached at the start.
    """
    if settings.kafka_acks != "all":
        raise UsageError(
            "the collector needs KAFKA_ACKS=all: it answers 204 when every replica has the events"
        )
    reading = reading_of(settings)
    with listening_socket(host, port) as listener:
        check_topic(settings)
        _serve(settings, reading, listener, with_shop=with_shop)


def _serve(
    settings: Settings, reading: Reading, listener: socket.socket, *, with_shop: bool
) -> None:
    try:
        producer = AnsweringProducer(partial(create_producer, settings))
    except KafkaException as error:
        raise UserError(
            f"the Kafka client of the collector cannot use the settings ({error.args[0].str()}); "
            "find the cause with: python -m clickstream doctor"
        ) from None
    delivery = KafkaDelivery(producer, settings.kafka_topic)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    logger.info("the collector listens on %s and sends to topic %s", url, settings.kafka_topic)
    if with_shop:
        logger.info("open the demo shop: %s/demo", url)
    shop = [session_route(settings), *SHOP_ROUTES] if with_shop else []
    app = build_app(Collector(settings, reading, delivery), shop)
    http_server(app).run(sockets=[listener])
    logger.info("stopped: all requests are answered")
