"""compose.yaml: valid, pinned, only on this machine, and reached by the documented settings."""

import json
import re
from io import StringIO
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from jsonschema import Draft7Validator

from clickstream.settings import Settings
from tests.unit.source_files import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SCHEMA = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())


def published() -> list[tuple[str, str, str]]:
    """Return service, address and container port of each published port."""
    ports = [(name, each) for name, one in SERVICES.items() for each in one.get("ports", [])]
    return [(name, *port.rpartition(":")[::2]) for name, port in ports]


def address_of(name: str, port: int) -> str:
    """Return the address on this machine of a container port."""
    (address,) = (a for service, a, inside in published() if (service, inside) == (name, str(port)))
    return address


def documented_settings() -> Settings:
    """Return the settings that the page on deployment names for the containers."""
    (lines,) = re.findall(
        r"^```sh\n(KAFKA_BOOTSTRAP_SERVERS=127.+?)^```",
        (ROOT / "docs" / "deployment.md").read_text(),
        re.M | re.S,
    )
    values = dotenv_values(stream=StringIO(lines))
    return Settings.from_mapping({key: value or "" for key, value in values.items()})


def test_compose_yaml_follows_the_compose_specification() -> None:
    Draft7Validator(SCHEMA).validate(COMPOSE)


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_an_exact_version(name: str) -> None:
    service = SERVICES[name]
    assert "build" in service or re.search(r":\d+\.\d+\.\d+(-[\w-]+)?$", service["image"])


@pytest.mark.parametrize(("name", "address", "inside"), published())
def test_every_port_is_published_on_this_machine_only(name: str, address: str, inside: str) -> None:
    assert address.startswith("127.0.0.1:"), f"{name} publishes {inside} on {address}"


@pytest.mark.parametrize("name", SERVICES)
def test_every_server_has_a_health_check_and_is_waited_for(name: str) -> None:
    service = SERVICES[name]
    assert "build" in service or service["healthcheck"]["test"][0] == "CMD"
    conditions = {each["condition"] for each in service.get("depends_on", {}).values()}
    assert conditions <= {"service_healthy"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_volume_of_a_service_is_declared(name: str) -> None:
    named = {volume.split(":")[0] for volume in SERVICES[name].get("volumes", [])}
    assert named <= COMPOSE["volumes"].keys()


def test_kafka_advertises_to_each_network_an_address_that_it_reaches() -> None:
    variables = SERVICES["kafka"]["environment"]
    advertised = dict(
        each.split("://") for each in variables["KAFKA_ADVERTISED_LISTENERS"].split(",")
    )
    assert advertised["HOST"] == address_of("kafka", 9092)
    assert advertised["CONTAINER"].startswith("kafka:")
    assert set(re.findall(r"(\w+)://", variables["KAFKA_LISTENERS"])) == {
        each.split(":")[0] for each in variables["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    }


def test_the_settings_of_the_readme_reach_the_containers() -> None:
    settings = documented_settings()
    assert settings.kafka_bootstrap_servers == address_of("kafka", 9092)
    assert address_of("postgres", 5432) == f"{settings.postgres_host}:{settings.postgres_port}"
    variables = SERVICES["postgres"]["environment"]
    assert settings.postgres_user == "postgres"
    assert settings.postgres_password == variables["POSTGRES_PASSWORD"]
    assert settings.postgres_database == variables["POSTGRES_DB"]
    assert (
        address_of("opensearch", 9200) == f"{settings.opensearch_host}:{settings.opensearch_port}"
    )
    assert not settings.opensearch_use_ssl
    assert settings.opensearch_dashboards_url == f"http://{address_of('dashboards', 5601)}"


def test_the_consumer_reaches_the_servers_in_the_network_of_the_containers() -> None:
    variables = SERVICES["consumer"]["environment"]
    settings = Settings.from_mapping(variables)
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"CONTAINER://{settings.kafka_bootstrap_servers}" in advertised.split(",")
    assert {settings.postgres_host, settings.opensearch_host} <= SERVICES.keys()
    assert address_of("consumer", 9464)
    local = documented_settings()
    assert settings.postgres_password == local.postgres_password
    assert settings.opensearch_use_ssl == local.opensearch_use_ssl
    assert SERVICES["consumer"]["depends_on"].keys() == {"kafka", "postgres", "opensearch"}
