"""The collector: each event that it accepted is stored once, whatever happens to Kafka."""

import gzip
import json
import socket
from signal import SIGKILL, SIGTERM

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream.admin.setup import apply_topic
from clickstream.collector.http_server import MAX_HEADER_BYTES
from clickstream.collector.request_body import MAX_BODY_BYTES, MAX_READ_BYTES
from clickstream.local.ports import free_port
from clickstream.settings import Settings
from tests.services import oracle
from tests.services.collector_site import JSON, Site, StartSite
from tests.services.databases import Query
from tests.services.fault_proxy import kafka_fault_proxy
from tests.services.own_server import OwnServer
from tests.services.records import event
from tests.services.scripts import RunScript, StartScript
from tests.services.waiting import eventually


@pytest.fixture
def start_site(start_script: StartScript) -> StartSite:
    return StartSite(start_script)


@pytest.fixture
def site(start_site: StartSite) -> Site:
    """A collector with a proxy in front that is trusted."""
    return start_site(TRUSTED_PROXIES="1")


def test_accepted_events_are_stored_with_what_the_server_knows(
    start_site: StartSite, run_script: RunScript, query: Query, environment: dict[str, str]
) -> None:
    site = start_site(TRUSTED_PROXIES="1")
    headers = {
        "Content-Type": "text/plain;charset=UTF-8",
        "User-Agent": "Browser 1",
        "X-Forwarded-For": "203.0.113.9, 192.0.2.7",
        "CF-IPCountry": "no",
    }
    assert site.post(event("v1", 0, page_url="/a"), headers).status == 204
    packed = gzip.compress(json.dumps([event("v2", n) for n in range(30)]).encode())
    assert site.post(packed, {**JSON, "Content-Encoding": "gzip"}).status == 204
    assert site.post([{"user_id": "v3"}, 7]).status == 204, "the consumer says what is wrong"
    assert site.post([]).status == 204
    assert (
        "clickstream_collector_events_total 33.0" in site.request("GET", "/metrics").data.decode()
    )
    site.script.send_signal(SIGTERM)
    assert site.script.wait() == 0
    assert run_script("consumer.py", "--drain").returncode == 0
    counters = oracle.check(environment)
    assert (counters["rows"], counters["rejected_rows"]) == (31, 2)
    assert query(
        "SELECT user_agent, host(ip_address), country, properties ? 'received_at' "
        "FROM clickstream_events WHERE user_id = 'v1'"
    ) == [("Browser 1", "192.0.2.7", "NO", True)]
    assert query("SELECT reason FROM rejected_events ORDER BY 1") == [
        ("missing_field",),
        ("not_an_object",),
    ]


def test_requests_that_are_not_accepted_get_the_status_that_says_why(start_site: StartSite) -> None:
    site = start_site(COLLECTOR_ORIGINS="https://shop.example", COLLECTOR_RATE="1")
    own = {**JSON, "Origin": "https://shop.example"}
    bomb = gzip.compress(b"[" + b" " * MAX_BODY_BYTES + b"]")
    late = event("v", 0) | {"timestamp": "2999-01-01T00:00:00Z"}
    for body, headers, status in [
        (event("v", 0), {**JSON, "Origin": "https://evil.example"}, 403),
        (b" " * MAX_BODY_BYTES, {**JSON, "Origin": "https://evil.example"}, 403),
        (event("v", 0), {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (event("v", 0), {**JSON, "Content-Encoding": "br"}, 415),
        (b"nonsense", own, 400),
        (b"nonsense", {**own, "Content-Encoding": "gzip"}, 400),
        (b" " * (MAX_BODY_BYTES + 1), own, 413),
        (b" " * (2 * MAX_READ_BYTES), own, 413),
        (bomb, {**own, "Content-Encoding": "gzip"}, 413),
        (late, own, 422),
        ([event("v", n) for n in range(30)], own, 204),
        (event("v", 0), own, 429),
    ]:
        answer = site.post(body, headers)
        assert answer.status == status, (status, answer.data)
        assert not {b"evil", b"nonsense"} & set(answer.data.split()), "it repeats no input"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert ("now" in (answer.json() if answer.data else {})) == (status == 422)
        assert ("Retry-After" in answer.headers) == (status == 429)
    assert site.request("GET", "/collect").status == 405
    assert site.request("GET", "/nothing").status == 404
    assert site.request("OPTIONS", "/collect", headers=own).status == 204
    assert site.request("GET", "/livez").status == 200
    assert site.script.is_running


def test_a_page_of_the_demo_shop_may_load_nothing_from_elsewhere_and_is_shown_in_no_frame(
    start_site: StartSite,
) -> None:
    page = start_site("--demo").request("GET", "/demo/cart")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"


POST = b"POST /collect HTTP/1.1\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"


def test_a_client_of_endless_headers_or_trailers_is_disconnected(start_site: StartSite) -> None:
    site = start_site()
    for begin in (b"GET / HTTP/1.1\r\n", POST + b"\r\n1\r\n[\r\n0\r\n"):
        with socket.create_connection(("127.0.0.1", site.port), timeout=60) as client:
            client.sendall(begin)
            headers = (b"x-header: " + b"x" * 990 + b"\r\n") * (100 * MAX_HEADER_BYTES // 1_000)
            try:
                client.sendall(headers)
                assert client.recv(1) == b""
            except ConnectionError:  # it depends on how much of this was on its way
                pass
        assert site.request("GET", "/livez").status == 200


def test_a_request_that_stops_being_http_is_no_failure_of_the_collector(
    start_site: StartSite,
) -> None:
    site = start_site()
    with socket.create_connection(("127.0.0.1", site.port), timeout=60) as client:
        client.sendall(POST + b"\r\nnonsense\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    assert site.post(event("v", 0)).status == 204
    assert "Traceback" not in site.script.output


def test_what_was_accepted_is_stored_once_if_kafka_stalls_and_the_collector_is_killed(
    start_site: StartSite, run_script: RunScript, environment: dict[str, str]
) -> None:
    """A client sends an event until it is answered with 204; some are sent several times."""
    events = [event(f"v{n % 5}", n) for n in range(60)]
    with kafka_fault_proxy(environment) as proxy:
        site = start_site(**proxy.environment)
        assert site.post(events[:20]).status == 204
        proxy.stall()
        refused = site.post(events[20:40])
        assert (refused.status, refused.headers.get("Retry-After")) == (503, "5")
        assert site.request("GET", "/livez").status == 200
        proxy.resume()
        eventually(lambda: site.post(events[20:40]).status == 204)
        site.script.send_signal(SIGKILL)
        site.script.wait()
        site = start_site.on_port(site.port, **proxy.environment)
        for sent in ([each] for each in events[30:]):
            assert site.post(sent).status == 204
        proxy.stall()
        site.script.send_signal(SIGTERM)
        assert site.script.wait(60) == 0, "it stops although Kafka does not answer"
    assert run_script("consumer.py", "--drain").returncode == 0
    assert oracle.check(environment)["rows"] == len(events)


def test_events_are_taken_again_after_the_broker_has_lost_its_state(
    start_site: StartSite, own_broker: OwnServer, environment: dict[str, str]
) -> None:
    """Such a broker does not know the producer of the collector, and has another topic."""
    own = Settings.from_mapping({**environment, **own_broker.environment})
    apply_topic(own)
    site = start_site(**own_broker.environment)
    assert site.post(event("v", 0)).status == 204
    own_broker.stop()
    own_broker.start()
    apply_topic(own)
    eventually(lambda: site.post(event("v", 1)).status == 204)
    assert "Traceback" not in site.script.output
    assert "rdkafka" not in site.script.output


json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())
HEADERS = [
    "Content-Type",
    "Content-Encoding",
    "Origin",
    "X-Forwarded-For",
    "User-Agent",
    "CF-IPCountry",
]
header_values = st.sampled_from(["application/json", "text/plain", "gzip", "1.2.3.4"]) | st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=40
)


@given(
    body=st.binary(max_size=2_000) | json_texts,
    headers=st.dictionaries(st.sampled_from(HEADERS), header_values),
    raw=st.binary(max_size=300),
)
@settings(max_examples=250)
def test_no_request_makes_the_collector_fail(
    site: Site, body: bytes, headers: dict[str, str], raw: bytes
) -> None:
    assert site.post(body, headers).status < 500
    with socket.create_connection(("127.0.0.1", site.port), timeout=60) as client:
        client.sendall(raw + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(100)
    assert not answer.startswith(b"HTTP/1.1 5")
    assert site.script.is_running
    assert "Traceback" not in site.script.output


@pytest.mark.parametrize(
    ("changed", "status", "sentence"),
    [
        ({"KAFKA_ACKS": "1"}, 2, "error: the collector needs KAFKA_ACKS=all"),
        ({"KAFKA_TOPIC": "missing"}, 1, "topic 'missing' does not exist"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, 1, "error: cannot reach Kafka at"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CAFILE": "/missing.pem"},
            1,
            "error: the file /missing.pem of KAFKA_SSL_CAFILE cannot be read",
        ),
    ],
)
def test_a_collector_that_cannot_start_says_why(
    changed: dict[str, str], status: int, sentence: str, run_script: RunScript
) -> None:
    result = run_script("collector.py", "--port", str(free_port()), **changed)
    assert result.returncode == status
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_named(run_script: RunScript) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run_script("collector.py", "--port", port)
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert f"cannot listen on 127.0.0.1, port {port}" in result.stderr
