"""A real Apache Kafka that a test may stop, kill and start; it keeps its data and ports.

It has a listener without encryption, one that requires client certificates, and one with TLS and
passwords (SASL).
"""

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialUpsertion

from clickstream.local.ports import HOST, free_port
from tests.pki import Authority
from tests.services import server_scripts
from tests.services.server_scripts import KAFKA_SCRIPT, START_SECONDS

# Waits for the end of the test run, and deletes the server.
WATCHDOG = 'cat >/dev/null; "$1" wipe >/dev/null'
USER, PASSWORD = "clickstream", "the right password"
PROPERTIES = f"""
listeners=PLAINTEXT://{HOST}:%(plain)d,CONTROLLER://{HOST}:%(controller)d,SSL://{HOST}:%(tls)d,SASL_SSL://{HOST}:%(sasl)d
advertised.listeners=PLAINTEXT://{HOST}:%(plain)d,SSL://localhost:%(tls)d,SASL_SSL://localhost:%(sasl)d
ssl.keystore.type=PEM
ssl.keystore.location=%(keystore)s
ssl.truststore.type=PEM
ssl.truststore.location=%(truststore)s
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""  # noqa: E501
SCRAM_MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")


class RealKafka:
    """A Kafka in a folder of its own; `authority` signed its certificate and signs the clients'."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority("the operator's CA")
        self._folder = folder
        self._ports = {name: free_port() for name in ("plain", "controller", "tls", "sasl")}
        self.variables = {
            **os.environ,
            "KAFKA_PORT": str(self._ports["plain"]),
            "KAFKA_CONTROLLER_PORT": str(self._ports["controller"]),
            "KAFKA_NAME": f"kafka-{uuid.uuid4().hex[:12]}",
            "KAFKA_EXTRA": str(folder / "extra.properties"),
            "KAFKA_HEAP": "384m",
        }

    @property
    def plain(self) -> dict[str, str]:
        """The settings for the listener without encryption."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self._ports['plain']}",
            "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
        }

    @property
    def tls(self) -> dict[str, str]:
        """The settings for the listener that requires a client certificate, with one."""
        client = self.authority.issue("clickstream")
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{self._ports['tls']}",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CAFILE": str(self._folder / "ca.pem"),
            "KAFKA_SSL_CERTFILE": self._write("client.pem", client.certificate),
            "KAFKA_SSL_KEYFILE": self._write("client.key", client.key),
        }

    @property
    def tls_as_text(self) -> dict[str, str]:
        """The settings of `tls` with the certificates themselves instead of their files."""
        client = self.authority.issue("clickstream")
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{self._ports['tls']}",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_CA_CERT": self.authority.certificate,
            "KAFKA_ACCESS_CERT": client.certificate,
            "KAFKA_ACCESS_KEY": client.key,
        }

    def sasl(self, mechanism: str) -> dict[str, str]:
        """Return the settings for the listener with TLS and passwords."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{self._ports['sasl']}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SSL_CAFILE": str(self._folder / "ca.pem"),
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }

    def configure(self) -> None:
        """Write the certificates and the properties that `kafka.sh` adds to its own."""
        pair = self.authority.issue("server", hosts=("localhost",))
        files = {
            "keystore": self._write("server.pem", pair.key + pair.certificate),
            "truststore": self._write("ca.pem", self.authority.certificate),
        }
        self._write("extra.properties", PROPERTIES % {**self._ports, **files})

    def start(self) -> None:
        """Start it if it does not run, and wait until it answers."""
        started = self.ask("start", START_SECONDS)
        assert started.returncode == 0, f"Kafka does not start: {started.stdout}{started.stderr}"

    def kill(self) -> None:
        """Send SIGKILL and wait until it is gone."""
        self.ask("kill")

    def ask(self, verb: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the script that controls it, with one of its verbs."""
        return server_scripts.ask(KAFKA_SCRIPT, verb, self.variables, seconds)

    def create_scram_user(self) -> None:
        """Create the user of the listener with passwords; PLAIN has it by configuration."""
        options = {"bootstrap_servers": self.plain["KAFKA_BOOTSTRAP_SERVERS"]}
        with closing(KafkaAdminClient(**options)) as admin:
            for mechanism in SCRAM_MECHANISMS:
                credential = UserScramCredentialUpsertion(USER, mechanism, PASSWORD)
                errors = admin.alter_user_scram_credentials([credential])
                assert errors == {USER: None}, errors

    def _write(self, name: str, text: str) -> str:
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)


@contextmanager
def running_real_kafka(folder: Path) -> Iterator[RealKafka]:
    """Yield a running Kafka; it is deleted at the end, however the test run ends."""
    kafka = RealKafka(folder)
    watchdog = subprocess.Popen(
        ["bash", "-c", WATCHDOG, "watchdog", str(KAFKA_SCRIPT)],
        env=kafka.variables,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the tests, not for the watchdog
    )
    try:
        kafka.configure()
        kafka.start()
        kafka.create_scram_user()
        yield kafka
    finally:
        watchdog.communicate()
