"""The output of `terraform output -json` for the servers of a test."""

import json
from pathlib import Path

from clickstream.settings import Settings
from tests.pki import Authority


def write_outputs(pipeline: Settings, owner: Settings, authority: Authority, folder: Path) -> Path:
    """Write outputs for these servers, with a new client certificate; return the path.

    owner: the settings of the database's administrator.
    There is no OpenSearch: Aiven's has a certificate of a public CA, which a test cannot have.
    """
    client = authority.issue("clickstream")
    values = {
        "kafka_bootstrap_servers": pipeline.kafka_bootstrap_servers,
        "kafka_topic": pipeline.kafka_topic,
        "kafka_topic_partitions": pipeline.kafka_topic_partitions,
        "project_ca_cert": authority.certificate,
        "kafka_access_cert": client.certificate,
        "kafka_access_key": client.key,
        "postgres_host": pipeline.postgres_host,
        "postgres_port": pipeline.postgres_port,
        "postgres_database": pipeline.postgres_database,
        "postgres_user": pipeline.postgres_user,
        "postgres_password": pipeline.postgres_password,
        "postgres_admin_user": owner.postgres_user,
        "postgres_admin_password": owner.postgres_password,
        "opensearch_sink": "none",
    }
    path = folder / "outputs.json"
    path.write_text(json.dumps({name: {"value": value} for name, value in values.items()}))
    return path
