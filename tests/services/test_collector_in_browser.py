"""Clicks in Chromium to sessions in PostgreSQL: each click is stored exactly once."""

from signal import SIGKILL

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.services import oracle
from tests.services.collector_site import Site, StartSite
from tests.services.databases import Query
from tests.services.scripts import StartScript
from tests.services.waiting import DEADLINE_MILLISECONDS, eventually

# Tells the test the id of each event when it is queued.
NOTE_EVENTS = """
  const setItem = Storage.prototype.setItem;
  Storage.prototype.setItem = function (key, value) {
    if (key.startsWith("clickstream.event.")) noteEvent(key.slice("clickstream.event.".length));
    return setItem.call(this, key, value);
  };
"""
CLOCK_TWO_DAYS_AHEAD = "const now = Date.now; Date.now = () => now() + 2 * 86400000;"
GLOBAL_PRIVACY_CONTROL = """
  Object.defineProperty(navigator, "globalPrivacyControl", {get: () => true});
"""
CONSENT_PAGE = """<!doctype html><title>Consent</title>
<script src="/clickstream.js" data-consent="required"></script>
<button id="early" data-track>Early</button>
<button id="yes" onclick="clickstream.consent(true)">Yes</button>
<button id="buy" data-track="purchase" data-product-id="p1" data-price="2.5">Buy</button>
<button id="no" onclick="clickstream.consent(false)">No</button>"""
STORED = "SELECT event_id::text FROM clickstream_events"
QUEUED = """() => Object.keys(localStorage).filter((key) => key.startsWith("clickstream.event."))"""


@pytest.fixture
def site(start_script: StartScript) -> Site:
    """A collector with the demo shop, and a consumer."""
    start_script("consumer.py")
    return StartSite(start_script)("--demo")


class Visit:
    """A visitor's browser, which remembers the ids of the events that its pages queued."""

    def __init__(self, browser: Browser, site: Site, script: str = "") -> None:
        self.context: BrowserContext = browser.new_context()
        self.context.set_default_timeout(DEADLINE_MILLISECONDS)
        self.events: set[str] = set()
        self.context.expose_function("noteEvent", self._note)
        self.context.add_init_script(NOTE_EVENTS + script)
        self._site = site

    def _note(self, event_id: str) -> None:
        self.events.add(event_id)

    def open(self) -> Page:
        """Open the shop in a new tab."""
        page = self.context.new_page()
        page.goto(f"{self._site.url}/demo")
        page.wait_for_selector("#add-p1")
        return page

    def wait_until_stored(self, page: Page, query: Query) -> None:
        """Wait until each event is stored once and no event is in the queue."""

        def is_stored() -> bool:
            _let_messages_in(page)
            stored = [event_id for (event_id,) in query(STORED)]
            assert len(stored) == len(set(stored))
            assert self.events <= set(stored)
            assert page.evaluate(QUEUED) == [], "the collector has answered for each"
            return True

        eventually(is_stored)


def test_each_click_is_stored_once_whatever_happens_to_collector_network_and_tabs(
    browser: Browser,
    site: Site,
    start_script: StartScript,
    query: Query,
    environment: dict[str, str],
) -> None:
    visit = Visit(browser, site)
    page = visit.open()
    page.click("#add-p1")
    page.fill("#search input", "kettle")
    page.press("#search input", "Enter")
    page.click("#add-p3")
    visit.wait_until_stored(page, query)

    other = visit.open()
    for each in (page, other, page, other):
        each.click("#add-p3" if each is page else "#add-p2")
    visit.wait_until_stored(page, query)

    site.script.send_signal(SIGKILL)  # the network and Kafka stay
    site.script.wait()
    for _ in range(3):
        page.click("#add-p3")
    other.click("#add-p2")
    close(other)  # it tries to send the events of both tabs once more
    StartSite(start_script).on_port(site.port, "--demo")
    visit.context.set_offline(True)
    page.click("#add-p3")
    visit.context.set_offline(False)
    visit.wait_until_stored(page, query)

    # The collector gets the request; the tab is closed before it reads the answer.
    sent: list[int] = []
    visit.context.route("**/collect", lambda route: sent.append(route.fetch().status), times=1)
    page.click("#add-p3")
    eventually(lambda: _let_messages_in(page) and sent == [204])
    page.click("#add-p3")
    close(page)
    page = visit.open()
    page.click("a[href='/demo/cart']")
    page.click("text=Demo shop")
    page.click("#add-p1")
    page.click("a[href='/demo/cart']")
    page.click("#buy")
    page.wait_for_selector("text=Thank you.")
    visit.wait_until_stored(page, query)
    assert query("SELECT count(DISTINCT user_id)::int FROM clickstream_events") == [(1,)]
    # 2 at first, 4 in two tabs, 4 with a killed collector, 1 offline, 2 in a closed tab, 1 after it
    assert query(
        "SELECT count(*)::int FROM clickstream_events WHERE event_type = 'add_to_cart'"
    ) == [(14,)]
    eventually(lambda: "9.9" in page.inner_text("#session"))
    assert query(
        "SELECT orders_count, total_revenue::float, search_queries, landing_page "
        "FROM session_metrics"
    ) == [(1, 9.9, ["kettle"], f"{site.url}/demo")]
    assert oracle.check(environment)["rejected_rows"] == 0


def close(page: Page) -> None:
    """Close a tab as a visitor does: the page is told."""
    with page.expect_event("close"):
        page.close(run_before_unload=True)


def _let_messages_in(page: Page) -> bool:
    page.wait_for_timeout(50)
    return True


def test_a_page_that_comes_back_from_the_back_forward_cache_is_viewed_once_more(
    browser: Browser, site: Site, query: Query
) -> None:
    visit = Visit(browser, site)
    page = visit.open()
    visit.wait_until_stored(page, query)
    page.evaluate("globalThis.isKept = true")  # a page that is loaded again does not have it
    page.goto(f"{site.url}/livez")
    page.evaluate("history.back()")
    page.wait_for_function("globalThis.isKept")
    visit.wait_until_stored(page, query)
    assert query("SELECT page_url FROM clickstream_events WHERE event_type = 'page_view'") == 2 * [
        (f"{site.url}/demo",)
    ]


def test_events_of_a_wrong_clock_get_the_time_of_the_collector_and_are_stored_once(
    browser: Browser, site: Site, query: Query
) -> None:
    visit = Visit(browser, site, CLOCK_TWO_DAYS_AHEAD)
    page = visit.open()
    for _ in range(3):
        page.click("#add-p1")
    visit.wait_until_stored(page, query)
    assert query(
        "SELECT bool_and(event_time BETWEEN now() - interval '10 minutes' AND now()) "
        "FROM clickstream_events"
    ) == [(True,)]


def test_nothing_is_stored_or_sent_without_consent(
    browser: Browser, site: Site, query: Query
) -> None:
    """Global Privacy Control always refuses; `data-consent` asks first."""
    refusing = Visit(browser, site, GLOBAL_PRIVACY_CONTROL)
    page = refusing.open()
    page.click("#add-p1")
    assert page.evaluate("localStorage.length") == 0
    asked = Visit(browser, site)
    asked.context.route(
        "**/consent", lambda route: route.fulfill(body=CONSENT_PAGE, content_type="text/html")
    )
    page = asked.context.new_page()
    page.goto(f"{site.url}/consent")
    page.click("#early")
    assert page.evaluate("localStorage.length") == 0
    page.click("#yes")
    page.click("#buy")
    asked.wait_until_stored(page, query)
    assert query(
        "SELECT event_type, product_id, price::float, element_id FROM clickstream_events "
        "ORDER BY event_time"
    ) == [("page_view", None, None, None), ("purchase", "p1", 2.5, "buy")]
    page.click("#no")
    assert page.evaluate("localStorage.length") == 0
    assert refusing.events == set()
