"""The HTML page in Chromium: every chart draws, and nothing overflows at any size or colour."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.services.batches import Batches
from tests.services.records import event
from tests.services.scripts import RunScript
from tests.services.waiting import DEADLINE_MILLISECONDS, eventually

SHOP = ("--events", "800", "--backfill", "2d", "--seed", "7")
NEWS = ("--profile", "news", "--events", "400", "--backfill", "2d", "--seed", "7")
HOSTILE = "</script><script>hacked=1</script><img src=x onerror=hacked=1>{a|b}{b}\x1b[2J\u202e"
LONG_PATH = "/" + "a-long-path/" * 33 + "end"
# Charts of a shop and a news site, without those of user agents, which are not parsed here.
ALL_CHARTS = 22

# The number of shapes of each chart in a colour of data: not of axes, lines, background and text.
MARKS = """() => {
  const style = getComputedStyle(document.documentElement);
  const probe = document.body.appendChild(document.createElement("i"));
  const others = ["card", "text", "quiet", "line", "least"].map((name) => {
    probe.style.color = style.getPropertyValue(`--${name}`);
    return getComputedStyle(probe).color;
  });
  probe.remove();
  const drawn = (path) => [path.fill, path.stroke].some((colour) =>
    colour.startsWith("rgb") && !others.includes(colour));
  return [...document.querySelectorAll(".chart")].map((chart) =>
    [...chart.querySelectorAll("path")].filter((path) => drawn(getComputedStyle(path))
      && (path.getBBox().width || path.getBBox().height)).length);
}"""
# Texts that stick out of their chart, of their card or of the window.
CLIPPED = """() => {
  const outside = (text, box) => text.left < box.left - 1 || text.right > box.right + 1
    || text.top < box.top - 1 || text.bottom > box.bottom + 1;
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const box = element.closest("svg, section, .figures div, header, main");
    if (!node.data.trim() || !box || element.closest("script, .hidden")) continue;
    if (getComputedStyle(element.closest("thead") ?? element).clipPath !== "none") continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const {left, right, top, bottom} = box.getBoundingClientRect();
    const padding = parseFloat(getComputedStyle(box).paddingRight);
    const inner = {left: left + padding, right: right - padding, top, bottom};
    if ([...range.getClientRects()].some((rect) => outside(rect, inner)))
      found.push(`${element.tagName} ${node.data.slice(0, 60)}`);
  }
  return found;
}"""
# The numbers at the ends of bars that are not drawn in full.
MISSING_NUMBERS = """() => [...document.querySelectorAll(".chart")].flatMap((chart) => {
  const values = JSON.parse(chart.nextElementSibling.textContent);
  const drawn = [...chart.querySelectorAll("text")].map((text) => text.textContent);
  return (values.texts ?? []).filter((text) => !drawn.includes(text));
})"""
NEXT_FRAMES = """async () => {
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
}"""
SHOW_ALL_TOOLTIPS = """() => document.querySelectorAll(".chart").forEach((chart) => {
  echarts.getInstanceByDom(chart).dispatchAction({type: "showTip", seriesIndex: 0, dataIndex: 0});
})"""


def written_page(run_script: RunScript, folder: Path) -> str:
    """Write the page and return its address."""
    file = folder / "report.html"
    done = run_script("summary.py", "--html", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    return file.as_uri()


def simulated_events(run_script: RunScript, *arguments: str) -> list[Any]:
    lines = run_script("producer.py", "--dry-run", *arguments).stdout.splitlines()
    return [json.loads(line) for line in lines]


def check(browser: Browser, address: str, width: int, scheme: Any) -> Page:
    """Open the page, all tables too; compare what can be seen with what must be."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(DEADLINE_MILLISECONDS)
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: messages.append(request.url))
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    page.evaluate(NEXT_FRAMES)  # charts whose size has changed are drawn again
    eventually(lambda: is_complete(page, width))
    assert messages == [address]
    return page


def is_complete(page: Page, width: int) -> bool:
    """Check that every chart is drawn and that nothing overflows."""
    assert 0 not in page.evaluate(MARKS)
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(MISSING_NUMBERS) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    return True


@pytest.mark.long
def test_every_chart_draws_and_nothing_overflows_at_any_width_and_colour(
    batches: Batches, run_script: RunScript, browser: Browser, tmp_path: Path
) -> None:
    long = event("v" * 256, 0, page_url=f"https://shop.example{LONG_PATH}?q=1", country="C" * 200)
    hostile = [
        event(HOSTILE, second, name, page_url=HOSTILE, device_type=HOSTILE, country=HOSTILE,
              product_category=HOSTILE, article_category=HOSTILE, product_id=HOSTILE, price=1e9)
        for second, name in enumerate(["page_view", "purchase", HOSTILE])
    ]  # fmt: skip
    batches.store([[*simulated_events(run_script, *SHOP), *simulated_events(run_script, *NEWS)]])
    batches.store([[long, *hostile, event(HOSTILE, 9), b"no JSON"]])
    address = written_page(run_script, tmp_path)
    backgrounds = set()
    for width, scheme in product((390, 1280), ("light", "dark")):
        page = check(browser, address, width, scheme)
        assert page.locator(".chart").count() == ALL_CHARTS
        page.evaluate(SHOW_ALL_TOOLTIPS)
        assert page.locator("img").count() == 0
        assert page.evaluate("typeof hacked") == "undefined"
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert len(backgrounds) == 2


def test_a_page_of_one_event_and_a_page_of_none_are_complete(
    batches: Batches, run_script: RunScript, browser: Browser, tmp_path: Path
) -> None:
    page = check(browser, written_page(run_script, tmp_path), 390, "light")
    assert "has no events yet" in page.inner_text("main")
    assert page.locator(".chart").count() == 0
    batches.store([[event("a", 0, page_url="/")]])
    page = check(browser, written_page(run_script, tmp_path), 390, "dark")
    assert page.locator(".chart").count() > 5
