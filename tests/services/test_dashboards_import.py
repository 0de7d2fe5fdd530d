"""The request that imports the dashboards, and the sentences if it fails."""

import json
import subprocess
from base64 import b64encode
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from clickstream.admin.dashboards import SAVED_OBJECTS_FILE
from tests.services.http_proxy import Reply, Request, http_proxy
from tests.services.scripts import command, plain_environment

DONE = Reply(200, json.dumps({"success": True, "successCount": 15}).encode())
REFUSED = Reply(
    200,
    json.dumps(
        {
            "success": False,
            "successCount": 0,
            "errors": [{"id": "clickstream", "error": {"type": "missing_references"}}],
        }
    ).encode(),
)


def import_dashboards(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("clickstream", "dashboards", "import"),
        env=plain_environment(settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def uploaded(request: Request) -> bytes:
    """Return the file of a multipart request."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + request.body, policy=default)
    (part,) = message.iter_attachments()
    assert str(part.get_filename()).endswith(".ndjson")
    return bytes(part.get_content())


def test_the_file_is_posted_as_dashboards_expects_it(tmp_path: Path) -> None:
    requests: list[Request] = []

    def answer(request: Request) -> Reply:
        requests.append(request)
        return DONE

    with http_proxy(answer) as port:
        url = f"http://127.0.0.1:{port}"
        result = import_dashboards(
            tmp_path,
            OPENSEARCH_DASHBOARDS_URL=f"{url}/",
            OPENSEARCH_USER="admin",
            OPENSEARCH_PASSWORD="pässword",
        )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        f"15 saved objects were imported; open {url}/app/dashboards#/view/clickstream\n"
    )
    (request,) = requests
    assert (request.method, request.path) == ("POST", "/api/saved_objects/_import?overwrite=true")
    assert request.headers["osd-xsrf"] == "true"
    assert (
        request.headers["Authorization"] == f"Basic {b64encode('admin:pässword'.encode()).decode()}"
    )
    assert uploaded(request) == SAVED_OBJECTS_FILE.read_bytes()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(401), "does not let OPENSEARCH_USER import saved objects"),
        (Reply(403), "does not let OPENSEARCH_USER import saved objects"),
        (Reply(404, b"<html>", "text/html"), "answered with status 404"),
        (Reply(200, b"[]"), "not as OpenSearch Dashboards does"),
        (REFUSED, "refused 1 saved objects, the first of them clickstream: missing_references"),
        (None, "cannot reach OpenSearch Dashboards"),
    ],
)
def test_a_refused_import_is_one_sentence(tmp_path: Path, reply: Reply | None, words: str) -> None:
    with http_proxy(lambda _: reply) as port:
        result = import_dashboards(tmp_path, OPENSEARCH_DASHBOARDS_URL=f"http://127.0.0.1:{port}")
    assert (result.returncode, result.stdout) == (1, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["", "localhost:5601", "https://admin:secret@dashboards.example"])
def test_an_invalid_address_is_refused_without_repeating_it(tmp_path: Path, url: str) -> None:
    result = import_dashboards(tmp_path, OPENSEARCH_DASHBOARDS_URL=url)
    assert (result.returncode, result.stdout) == (2, "")
    assert "OPENSEARCH_DASHBOARDS_URL must be the address" in result.stderr
    assert "secret" not in result.stderr
