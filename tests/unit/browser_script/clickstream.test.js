// The script for websites: the events that it queues, sends, sends again and gives up.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");

const { FakePage } = require("./fake_page.js");

const SOON = 1_000; // milliseconds
const LONG = 10 * 60_000;
const UUID_7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const types = (events) => events.map((event) => event.event_type);

test("a page view has its id and its time from the moment when it happened", async () => {
  const page = new FakePage();
  const happened = new Date(page.now).toISOString();
  await page.pass(SOON);
  const [{ address, events }] = page.requests;
  assert.equal(address, "https://collector.example/collect");
  assert.equal(events.length, 1);
  assert.match(events[0].event_id, UUID_7);
  assert.match(events[0].user_id, UUID_7);
  assert.equal(events[0].timestamp, happened);
  assert.equal(events[0].page_url, "https://shop.example/?utm_source=mail");
  assert.equal(events[0].referrer, "https://search.example/");
  assert.equal(events[0].viewport_size, "390x844");
});

test("events that happen together are sent in one request, in their order", async () => {
  const page = new FakePage();
  page.clickstream.track("search", { search_query: "socks" });
  page.now += 5;
  page.clickstream.track("add_to_cart");
  await page.pass(SOON);
  assert.deepEqual(page.requests.map(({ events }) => types(events)), [
    ["page_view", "search", "add_to_cart"],
  ]);
  assert.deepEqual(page.queued, []);
});

for (const answer of [{ offline: true }, ...[503, 500, 429, 408, 403, 404, 200].map((status) => ({ status }))]) {
  test(`an event stays queued and unchanged after ${JSON.stringify(answer)}`, async () => {
    const page = new FakePage({ answers: [answer, answer] });
    const [first] = page.queued;
    await page.pass(SOON);
    assert.deepEqual(page.queued, [first]);
    await page.pass(LONG);
    assert.deepEqual(page.queued, []);
    assert.deepEqual(page.requests.map(({ events }) => events), [[first], [first], [first]]);
  });
}

test("the collector says when to try again, and more events change nothing about it", async () => {
  const page = new FakePage({ answers: [{ status: 503, headers: { "Retry-After": "30" } }] });
  await page.pass(SOON);
  const refused = page.requests[0].at;
  page.clickstream.track("click");
  await page.pass(LONG);
  assert.ok(page.requests[1].at - refused >= 30_000);
});

test("the pauses between tries grow to a minute", async () => {
  const page = new FakePage({ answers: Array.from({ length: 12 }, () => ({ offline: true })) });
  await page.pass(20 * 60_000);
  const pauses = page.requests.slice(1).map(({ at }, n) => at - page.requests[n].at);
  assert.ok(Math.max(...pauses) <= 60_000 && pauses[9] >= 30_000 && pauses[0] <= 2_000);
});

test("a page that comes back online tries at once", async () => {
  const page = new FakePage({ answers: [{ offline: true }] });
  await page.pass(SOON);
  page.dispatch("online");
  await page.pass(1);
  assert.deepEqual(page.queued, []);
});

test("what one page could not send, the next page of the site sends", async () => {
  const first = new FakePage({ answers: [{ offline: true }] });
  const [event] = first.queued;
  await first.pass(SOON);
  const next = new FakePage({ stored: first.stored, later: 60_000 });
  await next.pass(SOON);
  assert.deepEqual(next.requests[0].events[0], event);
  assert.equal(next.requests[0].events[1].user_id, event.user_id, "the visitor is the same");
});

test("only an event that is refused in a request of its own gets another time", async () => {
  const page = new FakePage({
    answers: [
      { status: 422, content: { now: "2026-05-01T12:00:00.000Z" } },
      { status: 204 }, // the page view alone
      { status: 422, content: { now: "2026-05-01T12:00:10.000Z" } },
    ],
  });
  page.now += 100;
  page.clickstream.track("click");
  const [view, click] = page.queued;
  await page.pass(5 * SOON);
  const sent = page.requests.map(({ events }) => events);
  assert.deepEqual(sent.slice(0, 3), [[view, click], [view], [click]]);
  assert.equal(sent[3][0].event_id, click.event_id);
  assert.ok(sent[3][0].timestamp <= "2026-05-01T12:00:10.000Z");
  assert.ok(sent[3][0].timestamp > "2026-05-01T12:00:00.000Z");
  page.clickstream.track("later");
  assert.ok(page.queued[0].timestamp.startsWith("2026-05-01T12:00:"), "the offset is kept");
});

for (const status of [400, 413, 422]) {
  test(`an event that is refused alone with ${status} is given up, and others go on`, async () => {
    const page = new FakePage({ answers: [{ status }, { status }] });
    page.now += 5;
    page.clickstream.track("click");
    await page.pass(5 * SOON);
    assert.deepEqual(types(page.requests.at(-1).events), ["click"]);
    assert.deepEqual(page.queued, []);
  });
}

test("a beacon is one more try: its events stay queued", async () => {
  const page = new FakePage({ answers: [{ offline: true }] });
  page.now += 3_000;
  page.document.visibilityState = "hidden";
  page.dispatch("visibilitychange");
  const sent = JSON.parse(page.beacons[0].body);
  assert.deepEqual(types(sent), ["page_view", "engagement"]);
  assert.equal(sent[1].engaged_ms, 3_000);
  assert.deepEqual(page.queued, sent);
});

test("the time without attention is not counted", async () => {
  const page = new FakePage();
  page.now += 1_500;
  page.document.hasFocus = () => false;
  page.dispatch("blur");
  page.now += 60_000;
  page.document.hasFocus = () => true;
  page.dispatch("focus");
  page.now += 500;
  page.clickstream.track("click");
  assert.equal(page.queued[1].engaged_ms, 2_000);
});

test("the queue keeps the latest 500 events", () => {
  const page = new FakePage({ answers: [{ offline: true }] });
  for (let n = 0; n < 600; n++) {
    page.now += 1;
    page.clickstream.track("click", { n });
  }
  assert.equal(page.queued.length, 500);
  assert.equal(page.queued.at(-1).n, 599);
});

test("without localStorage the queue is in the memory of the page", async () => {
  const page = new FakePage({ isFull: true, answers: [{ offline: true }] });
  page.now += 5;
  page.clickstream.track("click");
  await page.pass(LONG);
  const events = page.requests.at(-1).events;
  assert.deepEqual(types(events), ["page_view", "click"]);
  assert.equal(events[0].user_id, events[1].user_id);
});

test("a value that another program left in the queue is removed", async () => {
  const page = new FakePage({ stored: new Map([["clickstream.event.1", "{"], ["clickstream.event.2", "5"]]) });
  await page.pass(5 * SOON);
  assert.deepEqual([...page.stored.keys()], ["clickstream.visitor"]);
});

test("navigation without loading is a page view, whose referrer is the page before", async () => {
  const page = new FakePage();
  page.window.history.pushState(null, "", "https://shop.example/cart");
  page.window.history.pushState(null, "", "https://shop.example/cart");
  page.dispatch("pageshow", { persisted: true });
  assert.deepEqual(
    page.queued.map((event) => [event.page_url, event.referrer]),
    [
      ["https://shop.example/?utm_source=mail", "https://search.example/"],
      ["https://shop.example/cart", "https://shop.example/?utm_source=mail"],
      ["https://shop.example/cart", "https://shop.example/cart"],
    ],
  );
});

test("a click on an element with data-track has its data as fields", () => {
  const page = new FakePage();
  const element = { id: "buy", dataset: { track: "add_to_cart", productId: "p1", price: "9.99" } };
  page.dispatch("click", { target: { closest: () => element } });
  page.dispatch("click", { target: { closest: () => null } });
  page.dispatch("click", { target: {} });
  const [, click] = page.queued;
  assert.equal(page.queued.length, 2);
  assert.deepEqual(
    [click.event_type, click.element_id, click.product_id, click.price],
    ["add_to_cart", "buy", "p1", "9.99"],
  );
});

for (const navigator of [{ globalPrivacyControl: true }, { doNotTrack: "1" }]) {
  test(`nothing is stored or sent with ${JSON.stringify(navigator)}`, async () => {
    const page = new FakePage({ navigator });
    page.clickstream.consent(true);
    page.clickstream.track("click");
    await page.pass(LONG);
    assert.deepEqual(page.requests, []);
    assert.deepEqual(page.queued, []);
    assert.equal(page.stored.has("clickstream.visitor"), false);
  });
}

test("a visitor gets a new id after the days of data-visitor-days", () => {
  const first = new FakePage({ options: { visitorDays: "1" } });
  const again = new FakePage({ stored: first.stored });
  again.now += 86_400_000;
  again.clickstream.track("click");
  const visitors = again.queued.map((event) => event.user_id);
  assert.equal(visitors[0], visitors[1]);
  assert.notEqual(visitors[2], visitors[0]);
});

for (const wait of ["Wed, 21 Oct 2026 07:28:00 GMT", "99999999999", "-5"]) {
  test(`a Retry-After of ${wait} is neither a loop nor a stop`, async () => {
    const page = new FakePage({ answers: [{ status: 503, headers: { "Retry-After": wait } }] });
    await page.pass(3_600_000 + SOON);
    assert.equal(page.requests.length, 2);
    assert.ok(page.requests[1].at - page.requests[0].at >= 1_000);
    assert.deepEqual(page.queued, []);
  });
}

test("a clock that is set back delays no try", async () => {
  const page = new FakePage({ answers: [{ offline: true }] });
  await page.pass(SOON);
  page.clockAhead = -365 * 86_400_000;
  await page.pass(LONG);
  assert.deepEqual(page.queued, []);
});

test("what is too large for a request that outlives its page is sent without that", async () => {
  const page = new FakePage();
  page.clickstream.track("note", { text: "x".repeat(100_000) });
  for (let n = 0; n < 20; n++) page.clickstream.track("note", { text: "語".repeat(1_400) });
  await page.pass(LONG);
  assert.deepEqual(page.queued, []);
  assert.equal(page.requests.flatMap(({ events }) => events).length, 22);
});

test("an event that is refused with its new time, too, is given up", async () => {
  const page = new FakePage({
    answers: Array.from({ length: 50 }, (_, n) => ({
      status: 422,
      content: { now: new Date(Date.UTC(2026, 4, 1, n)).toISOString() },
    })),
  });
  await page.pass(LONG);
  assert.equal(page.requests.length, 2);
  assert.deepEqual(page.queued, []);
});

test("an event of a wrong clock gets the time of the collector though the clock is right by now", async () => {
  const contentNow = () => new Date(page.now).toISOString();
  const page = new FakePage({ answers: [422, 204, 422].map((status) => ({ status, contentNow })) });
  page.clockAhead = 2 * 86_400_000;
  page.clickstream.track("click");
  page.clockAhead = 0;
  await page.pass(LONG);
  const last = page.requests.at(-1).events[0];
  assert.equal(last.event_type, "click");
  assert.ok(Math.abs(Date.parse(last.timestamp) - Date.UTC(2026, 4, 4, 12)) < LONG);
});

test("a clock that is corrected while the page is open does not move later events", async () => {
  const now = new Date(Date.UTC(2026, 4, 2, 12)).toISOString();
  const page = new FakePage({ answers: [{ status: 422, content: { now } }] });
  await page.pass(SOON);
  page.clockAhead = -2 * 86_400_000;
  page.clickstream.track("click");
  assert.ok(page.queued.at(-1).timestamp.startsWith("2026-05-02T12:"));
});

test("storage that is full in the middle keeps the newest value of an event", async () => {
  const now = "2026-05-01T12:00:00.000Z";
  const page = new FakePage({ answers: [{ status: 422, content: { now } }] });
  page.isFull = true;
  await page.pass(LONG);
  assert.equal(page.requests.length, 2);
  assert.ok(page.requests[1].events[0].timestamp.startsWith("2026-05-01T11:59:59"));
  assert.deepEqual(page.queued, []);
});

test("a consent that is withdrawn while an event is sent leaves nothing behind", async () => {
  const page = new FakePage({
    options: { consent: "required" },
    answers: [
      { status: 422, contentNow: () => (page.clickstream.consent(false), "2026-05-01T12:00:00.000Z") },
    ],
  });
  page.now += 5_000;
  page.clickstream.consent(true);
  const [view] = page.queued;
  assert.equal(view.referrer, "https://search.example/", "the visit keeps its source");
  assert.equal(view.engaged_ms, 0, "the time before the consent is not told");
  await page.pass(LONG);
  assert.equal(page.requests.length, 1);
  assert.deepEqual([...page.stored.keys()], []);
});

test("a visitor who objects is not tracked, also if the page does not ask first", async () => {
  const page = new FakePage();
  page.clickstream.consent(false);
  const next = new FakePage({ stored: page.stored, later: 5_000 });
  await page.pass(SOON);
  await next.pass(SOON);
  assert.deepEqual([page.requests, next.requests], [[], []]);
  assert.deepEqual([...next.stored.keys()], ["clickstream.consent"]);
  next.clickstream.consent(true);
  assert.equal(next.queued.length, 1);
});

test("nothing is thrown into the page", async () => {
  const page = new FakePage({
    navigator: {
      sendBeacon: () => {
        throw new TypeError("no scheme");
      },
      locks: { request: () => Promise.reject(new Error("SecurityError")) },
    },
  });
  const circle = {};
  circle.circle = circle;
  page.clickstream.track("click", circle);
  page.clickstream.track("click", { n: 1n });
  page.dispatch("click", { target: { closest: () => ({ id: "svg" }) } });
  page.document.visibilityState = "hidden";
  page.dispatch("visibilitychange");
  assert.equal(page.warnings.length, 4);
  await page.pass(SOON);
  assert.deepEqual(page.queued, [], "without the lock it is sent, too");
});

test("a click keeps its own id, time and visitor whatever the data attributes are", () => {
  const page = new FakePage({ options: { visitorDays: "many" } });
  const dataset = { track: "", eventId: "1", timestamp: "never", userId: "friend", eventType: "x" };
  page.dispatch("click", { target: { closest: () => ({ id: {}, dataset }) } });
  page.clickstream.track("click", { event_id: "1", timestamp: "never", n: 1 });
  const [view, click, tracked] = page.queued;
  assert.deepEqual(Object.keys(click).sort(), [...Object.keys(view), "element_id"].filter((name) => name !== "referrer").sort());
  for (const each of [click, tracked]) {
    assert.match(each.event_id, UUID_7);
    assert.equal(each.timestamp, view.timestamp);
    assert.equal(each.user_id, view.user_id);
  }
});
