"""The pipeline on a real Apache Kafka: TLS, passwords, a crash of the broker, large records.

`.ci/run` runs these tests with those that it repeats on a real Kafka. One worker runs them, because
the server takes memory. They are skipped on a machine without Java 17.
"""

import os
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from signal import SIGTERM

import pytest
from kafka import KafkaAdminClient

from clickstream.clients.kafka import connection_options
from clickstream.consumer.stream import PARTITION_FETCH_BYTES
from clickstream.settings import Settings
from tests.services import oracle
from tests.services.collector_site import StartSite
from tests.services.databases import Query
from tests.services.real_kafka import RealKafka, running_real_kafka
from tests.services.records import event, send
from tests.services.scripts import RunScript, StartScript
from tests.services.server_scripts import INSTALL_SECONDS, KAFKA_SCRIPT, missing
from tests.services.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """The Kafka of these tests."""
    if reason := missing(KAFKA_SCRIPT, "Kafka"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("kafka")
    installed = RealKafka(folder).ask("install", INSTALL_SECONDS)
    if installed.returncode:
        refuse = pytest.fail if "CI" in os.environ else pytest.skip
        refuse(f"cannot download Kafka: {installed.stderr.strip()[:500]}")
    with running_real_kafka(folder) as kafka:
        yield kafka


@pytest.mark.parametrize("access", ["client certificate", "PLAIN", "SCRAM-SHA-512"])
def test_the_pipeline_is_exact_on_a_kafka_with_tls(
    access: str, real_kafka: RealKafka, run_script: RunScript
) -> None:
    given = real_kafka.tls if access == "client certificate" else real_kafka.sasl(access)
    sent = ("producer.py", "--events", "500", "--backfill", "1d", "--seed", "1")
    for script in (("create_schema.py",), sent, ("consumer.py", "--drain")):
        done = run_script(*script, **given)
        assert done.returncode == 0, done.stderr
    assert run_script("clickstream", "doctor", **given).stdout.endswith("All is well.\n")
    assert "Verified 500 events" in run_script("summary.py", "--verify", **given).stdout


@pytest.mark.parametrize("access", ["certificates as text", "SCRAM-SHA-512"])
def test_the_collector_sends_to_a_kafka_with_tls(
    access: str,
    real_kafka: RealKafka,
    start_script: StartScript,
    run_script: RunScript,
    query: Query,
) -> None:
    is_text = access == "certificates as text"
    given = real_kafka.tls_as_text if is_text else real_kafka.sasl(access)
    assert run_script("create_schema.py", **given).returncode == 0
    site = StartSite(start_script)(**given)
    assert site.post([event("v", n) for n in range(3)]).status == 204
    site.script.send_signal(SIGTERM)
    assert site.script.wait() == 0
    assert run_script("consumer.py", "--drain", **given).returncode == 0
    assert query("SELECT count(*)::int FROM clickstream_events") == [(3,)]


def test_refused_clients_get_the_same_sentence_from_consumer_and_doctor(
    real_kafka: RealKafka, start_script: StartScript, run_script: RunScript
) -> None:
    cases = {
        "refuses KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD": {
            **real_kafka.sasl("SCRAM-SHA-256"),
            "KAFKA_SASL_PASSWORD": "wrong",
        },
        "refuses KAFKA_SASL_USERNAME": {**real_kafka.sasl("PLAIN"), "KAFKA_SASL_USERNAME": "who"},
        "may require a client certificate": {
            **real_kafka.tls,
            "KAFKA_SSL_CERTFILE": "",
            "KAFKA_SSL_KEYFILE": "",
        },
    }
    consumers = {words: start_script("consumer.py", **given) for words, given in cases.items()}
    for words, consumer in consumers.items():
        assert consumer.wait() == 1
        sentence = consumer.output.splitlines()[-1].removeprefix("error: ")
        assert words in sentence
        assert sentence in run_script("clickstream", "doctor", **cases[words]).stdout
        assert "Traceback" not in consumer.output


def test_a_kafka_killed_under_load_loses_and_doubles_nothing(
    real_kafka: RealKafka,
    environment: dict[str, str],
    run_script: RunScript,
    start_script: StartScript,
    query: Query,
    tmp_path: Path,
) -> None:
    """Producer and consumer continue by themselves; a warning names Kafka."""
    given = {**environment, **real_kafka.plain}
    truth = str(tmp_path / "truth.json")
    assert run_script("create_schema.py", **real_kafka.plain).returncode == 0
    consumer = start_script("consumer.py", **given)
    load = ("--events", "6000", "--rate", "500", "--seed", "1", "--duplicate", "0.05")
    traffic = start_script("producer.py", *load, "--truth", truth, **given)
    eventually(lambda: query("SELECT 1 FROM clickstream_events HAVING count(*) > 500"))
    real_kafka.kill()
    consumer.wait_for_output("has not answered for 6 s")
    real_kafka.start()
    assert traffic.wait() == 0, traffic.output
    drained = run_script("consumer.py", "--drain", **real_kafka.plain)
    assert drained.returncode == 0
    assert run_script("summary.py", "--compare", truth).returncode == 0
    assert "Traceback" not in consumer.output
    assert re.search(r"WARNING Kafka at \S+ .*has not answered for 6 s", consumer.output)
    oracle.check(environment)


def test_a_record_larger_than_a_fetch_is_rejected_and_those_around_it_are_stored(
    real_kafka: RealKafka, environment: dict[str, str], run_script: RunScript, query: Query
) -> None:
    given = {**environment, **real_kafka.plain}
    options = {"num_partitions": 1, "configs": {"max.message.bytes": str(16 << 20)}}
    with closing(KafkaAdminClient(**connection_options(Settings.from_mapping(given)))) as admin:
        admin.create_topics({given["KAFKA_TOPIC"]: options}, wait_for_metadata=True)
    large = b64encode(Random(1).randbytes(PARTITION_FETCH_BYTES + (1 << 20))).decode()
    send(given, [event("before", 0), event("large", 1, extra=large), event("after", 2)])
    drained = run_script("consumer.py", "--drain", **given)
    assert drained.returncode == 0, drained.stderr
    assert query("SELECT user_id FROM clickstream_events ORDER BY 1") == [("after",), ("before",)]
    assert query("SELECT reason FROM rejected_events") == [("value_too_large",)]
    oracle.check(environment)
