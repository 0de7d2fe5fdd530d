"""`python -m clickstream env`: write `.env` and the files in `certs/` from Terraform's outputs."""

import argparse
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from clickstream import cli
from clickstream.aiven.outputs import Outputs, read
from clickstream.clients import certificates
from clickstream.env_file import write_env_file
from clickstream.errors import UserError
from clickstream.generated_files import check_writable, write_file
from clickstream.pasteable import pasteable
from clickstream.settings import DEFAULT_ENV_FILE, Settings
from clickstream.sources import warn_if_overruled

WRITTEN_BY = "python -m clickstream env"
CERTS = Path("certs")
CA_FILE = CERTS / "ca.pem"
CERT_FILE = CERTS / "service.cert"
KEY_FILE = CERTS / "service.key"
REFRESH = "update the outputs: terraform -chdir=terraform apply -refresh-only"


def run(arguments: argparse.Namespace) -> int:
    """Check all outputs, then write all files, and print the next steps."""
    outputs = read(arguments.terraform, arguments.file)
    valid_until = check_credentials(outputs, datetime.now(UTC))
    values = settings_of(outputs)
    Settings.from_mapping(values)
    backups = write(outputs, values, arguments.force)
    print(f"Written with mode 0600: {DEFAULT_ENV_FILE}, {CA_FILE}, {CERT_FILE}, {KEY_FILE}.")
    for backup in backups:
        print(f"The earlier file is kept as {backup}.")
    print(f"The client certificate is valid until {valid_until:%Y-%m-%d}.")
    warn_if_overruled(DEFAULT_ENV_FILE, values, os.environ)
    print(pasteable(next_steps(outputs)))
    return cli.DONE


def check_credentials(outputs: Outputs, now: datetime) -> datetime:
    """Return the end date of the client certificate.

    Raises UserError if a certificate or key is unusable at `now`.
    """
    (ca, *_) = certificates.read_certificates(
        outputs.project_ca_cert.encode(), "the output project_ca_cert", REFRESH
    )
    (client, *_) = certificates.read_certificates(
        outputs.kafka_access_cert.encode(), "the output kafka_access_cert", REFRESH
    )
    key = certificates.read_key(
        outputs.kafka_access_key.encode(), "the output kafka_access_key", REFRESH
    )
    certificates.check_pair(
        client, key, "the outputs kafka_access_cert and kafka_access_key", REFRESH
    )
    certificates.check_dates(ca, "the project's CA certificate", now, REFRESH)
    certificates.check_dates(client, "the client certificate", now, certificates.RENEW)
    return client.not_valid_after_utc


def settings_of(outputs: Outputs) -> dict[str, str]:
    """Return the settings for `.env`: variable name to value."""
    by_consumer = outputs.opensearch_sink == "consumer"
    return {
        "KAFKA_BOOTSTRAP_SERVERS": outputs.kafka_bootstrap_servers,
        "KAFKA_TOPIC": outputs.kafka_topic,
        "KAFKA_TOPIC_PARTITIONS": str(outputs.kafka_topic_partitions),
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CAFILE": CA_FILE.as_posix(),
        "KAFKA_SSL_CERTFILE": CERT_FILE.as_posix(),
        "KAFKA_SSL_KEYFILE": KEY_FILE.as_posix(),
        "POSTGRES_HOST": outputs.postgres_host,
        "POSTGRES_PORT": str(outputs.postgres_port),
        "POSTGRES_DATABASE": outputs.postgres_database,
        "POSTGRES_USER": outputs.postgres_user,
        "POSTGRES_PASSWORD": outputs.postgres_password,
        "POSTGRES_SSLMODE": "verify-full",
        "POSTGRES_SSLROOTCERT": CA_FILE.as_posix(),
        "OPENSEARCH_HOST": outputs.opensearch_host if by_consumer else "",
        "OPENSEARCH_PORT": str(outputs.opensearch_port),
        "OPENSEARCH_USER": outputs.opensearch_user,
        "OPENSEARCH_PASSWORD": outputs.opensearch_password,
        "OPENSEARCH_USE_SSL": "true",
        # A public CA signed the certificate of OpenSearch, not the project's CA.
        "OPENSEARCH_CAFILE": "",
        "OPENSEARCH_DASHBOARDS_URL": outputs.opensearch_dashboards_url,
    }


def write(outputs: Outputs, values: Mapping[str, str], force: bool) -> list[Path]:
    """Write the certificates and `.env`, and return the paths of the backups.

    Raises UserError before the first write if one of the files belongs to another command.
    """
    texts = {
        CA_FILE: outputs.project_ca_cert,
        CERT_FILE: outputs.kafka_access_cert,
        KEY_FILE: outputs.kafka_access_key,
    }
    for path in (*texts, DEFAULT_ENV_FILE):
        check_writable(path, WRITTEN_BY, force)
    _make_folder()
    backups = [
        write_file(path, text.strip() + "\n", WRITTEN_BY, force) for path, text in texts.items()
    ]
    backups.append(write_env_file(DEFAULT_ENV_FILE, values, WRITTEN_BY, force))
    return [backup for backup in backups if backup]


def _make_folder() -> None:
    try:
        CERTS.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {CERTS}: {error.strerror}") from None


def next_steps(outputs: Outputs) -> str:
    """Return the text about the commands to run next."""
    # All details of a server come from one source, so the rest has to be in the environment too.
    templates = (
        f"(set -a; . ./.env; OPENSEARCH_HOST={outputs.opensearch_host} python create_schema.py)"
    )
    by_connector = outputs.opensearch_sink == "connector"
    return "\n".join(
        [
            "",
            "Next:",
            "  python -m clickstream grant    # once: lets the role create its tables",
            f"  {templates if by_connector else 'python create_schema.py'}",
            "  python -m clickstream doctor   # checks servers, credentials and rights",
        ]
    )
