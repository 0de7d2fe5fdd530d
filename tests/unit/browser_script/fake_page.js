// A fake page with the parts of a browser that clickstream.js uses, under the control of a test.
"use strict";

const { readFileSync } = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");
const { webcrypto } = require("node:crypto");

const SCRIPT = path.join(__dirname, "../../../clickstream/collector/website/clickstream.js");

class FakePage {
  // answers: what the collector answers, in this order, and then 204. stored: of an earlier page.
  // later: milliseconds after the first page. isFull: localStorage takes no more. more: globals.
  constructor({
    answers = [],
    stored = new Map(),
    later = 0,
    options = {},
    navigator = {},
    isFull = false,
    more = {},
  } = {}) {
    this.now = Date.UTC(2026, 4, 4, 12) + later;
    this.clockAhead = 0;
    this.stored = stored;
    this.isFull = isFull;
    this.requests = [];
    this.beacons = [];
    this.warnings = [];
    this.timers = [];
    this.listeners = {};
    this.document = {
      currentScript: { src: "https://collector.example/clickstream.js", dataset: options },
      referrer: "https://search.example/",
      visibilityState: "visible",
      hasFocus: () => true,
      addEventListener: (name, listener) => this.listen(name, listener),
    };
    const page = this;
    class FakeDate extends Date {
      constructor(...given) {
        super(...(given.length ? given : [FakeDate.now()]));
      }
      static now() {
        return page.now + page.clockAhead;
      }
    }
    const sandbox = {
      document: this.document,
      location: { href: "https://shop.example/?utm_source=mail" },
      history: { pushState: (_state, _title, address) => (sandbox.location.href = address) },
      navigator: { sendBeacon: (address, body) => this.beacons.push({ address, body }), ...navigator },
      localStorage: this.fakeStorage(),
      crypto: webcrypto,
      performance: { now: () => this.now },
      innerWidth: 390,
      innerHeight: 844,
      addEventListener: (name, listener) => this.listen(name, listener),
      setTimeout: (call, delay) => this.timers.push({ call, at: this.now + delay }),
      clearTimeout: (id) => id && (this.timers[id - 1].call = null),
      fetch: (address, request) => this.answer(address, request, answers),
      URL,
      Date: FakeDate,
      Blob,
      AbortSignal,
      console: { warn: (...words) => this.warnings.push(words) },
      ...more,
    };
    this.window = vm.createContext(sandbox);
    vm.runInContext(readFileSync(SCRIPT, "utf8"), this.window);
    this.clickstream = sandbox.clickstream;
  }

  fakeStorage() {
    const page = this;
    const { stored } = this;
    return {
      getItem: (key) => stored.get(key) ?? null,
      setItem: (key, value) => {
        if (page.isFull) throw new Error("QuotaExceededError");
        stored.set(key, value);
      },
      removeItem: (key) => stored.delete(key),
      key: (n) => [...stored.keys()][n],
      get length() {
        return stored.size;
      },
    };
  }

  listen(name, listener) {
    (this.listeners[name] ??= []).push(listener);
  }

  dispatch(name, event = {}) {
    for (const listener of this.listeners[name] ?? []) listener(event);
  }

  async answer(address, request, answers) {
    this.requests.push({ address, at: this.now, events: JSON.parse(request.body) });
    const answer = answers.shift() ?? { status: 204 };
    const bytes = Buffer.byteLength(request.body);
    if (request.keepalive && bytes > 65536) throw new TypeError("Failed to fetch");
    if (answer.offline) throw new TypeError("Failed to fetch");
    return {
      status: answer.status,
      headers: { get: (name) => answer.headers?.[name] ?? null },
      json: async () => (answer.contentNow ? { now: answer.contentNow() } : (answer.content ?? {})),
    };
  }

  // Let this many milliseconds pass, with every timer and answer that is due meanwhile.
  async pass(milliseconds) {
    const end = this.now + milliseconds;
    for (;;) {
      const due = this.timers.filter(({ call, at }) => call && at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.now = Math.max(this.now, due.at);
      const { call } = due;
      due.call = null;
      call();
      await new Promise(setImmediate);
    }
    this.now = end;
  }

  get queued() {
    return [...this.stored]
      .filter(([key]) => key.startsWith("clickstream.event."))
      .map(([, value]) => JSON.parse(value).event);
  }
}

module.exports = { FakePage };
