"""Import of the saved objects of dashboards/clickstream.ndjson into OpenSearch Dashboards."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from clickstream.clients.opensearch import basic_authentication
from clickstream.errors import UsageError, UserError
from clickstream.settings import Settings

SAVED_OBJECTS_FILE = Path(__file__).parents[2] / "dashboards" / "clickstream.ndjson"
IMPORT_PATH = "/api/saved_objects/_import?overwrite=true"
DASHBOARD_PATH = "/app/dashboards#/view/"
# Ids of saved objects, titles of index patterns, and the index of a Timelion expression: these
# begin with the prefix of the indexes.
PREFIXED = re.compile(r'(?<="id": ")clickstream|(?<="title": ")clickstream|(?<=index=)clickstream')
TIMEOUT_SECONDS = 30
OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403


def import_dashboards(settings: Settings) -> str:
    """Import the saved objects, replacing those of an earlier import; return a sentence.

    Raises UsageError if OPENSEARCH_DASHBOARDS_URL is not an address, and UserError if Dashboards
    cannot be reached or refuses the import.
    """
    url = _address(settings.opensearch_dashboards_url)
    prefix = settings.opensearch_index_prefix
    reply = _post(url, saved_objects(prefix).encode(), settings)
    if reply.status in (UNAUTHORIZED, FORBIDDEN):
        raise UserError(
            f"OpenSearch Dashboards at {url} does not let OPENSEARCH_USER import saved objects; "
            "set a user with this right in the environment: OPENSEARCH_USER=... "
            "OPENSEARCH_PASSWORD=... python -m clickstream dashboards import"
        )
    result = _result(url, reply)
    if not result.get("success"):
        raise UserError(f"OpenSearch Dashboards at {url} refused {_refusal(result)}")
    return (
        f"{result['successCount']} saved objects were imported; open {url}{DASHBOARD_PATH}{prefix}"
    )


def saved_objects(prefix: str) -> str:
    """Return the saved objects for the indexes with this prefix, one JSON object a line."""
    return PREFIXED.sub(prefix, SAVED_OBJECTS_FILE.read_text(encoding="utf-8"))


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise UsageError(
            "OPENSEARCH_DASHBOARDS_URL must be the address of OpenSearch Dashboards, such as "
            "http://localhost:5601, without user and password (OPENSEARCH_USER and "
            "OPENSEARCH_PASSWORD are used)"
        )
    return url.rstrip("/")


def _post(url: str, objects: bytes, settings: Settings) -> urllib3.BaseHTTPResponse:
    ca_file = settings.opensearch_cafile or None
    with urllib3.PoolManager(ca_certs=ca_file, timeout=TIMEOUT_SECONDS, retries=False) as pool:
        try:
            return pool.request(
                "POST",
                url + IMPORT_PATH,
                fields={"file": (SAVED_OBJECTS_FILE.name, objects, "application/ndjson")},
                headers={"osd-xsrf": "true", **basic_authentication(settings)},
            )
        except HTTPError as error:
            raise UserError(
                f"cannot reach OpenSearch Dashboards at {url} ({type(error).__name__}); check "
                "OPENSEARCH_DASHBOARDS_URL"
            ) from None


def _result(url: str, reply: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    """Return the result of the import. Raises UserError if another server replied."""
    try:
        result = json.loads(reply.data)
    except ValueError:
        result = None
    if reply.status != OK or not isinstance(result, dict) or "success" not in result:
        raise UserError(
            f"{url} answered with status {reply.status}, and not as OpenSearch Dashboards does; "
            "check OPENSEARCH_DASHBOARDS_URL"
        )
    return result


def _refusal(result: dict[str, Any]) -> str:
    """Return the first object that was refused, and the reason."""
    errors = result.get("errors") or [{}]
    first = errors[0]
    kind = first.get("error", {}).get("type", "unknown reason")
    return f"{len(errors)} saved objects, the first of them {first.get('id', 'unknown')}: {kind}"
