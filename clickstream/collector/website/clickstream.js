/*
 * Sends the page views and clicks of a website to a collector.
 *
 *   <script defer src="https://collector.example/clickstream.js"></script>
 *
 * Attributes of the script element:
 *   data-collector     address that events are posted to (default: /collect of this script's host)
 *   data-consent       "required": nothing is stored or sent before clickstream.consent(true)
 *   data-visitor-days  days after which a visitor gets a new id (default: 390)
 *
 * Elements with data-track="TYPE" send an event of this type ("click" if empty) when they are
 * clicked; their other data attributes become fields: data-product-id="p1" sends product_id.
 *
 *   clickstream.track("add_to_cart", {product_id: "p1", price: 9.99})
 *
 * Nothing is stored or sent if the browser asks not to be tracked (Global Privacy Control, DNT).
 * There are no cookies: the visitor's id and the events that are not accepted yet are in
 * localStorage. An event gets its id and its time once, when it happens, and stays there until the
 * collector has answered 204, so it is sent again as often as needed and counts once.
 */
(() => {
  "use strict";

  const PREFIX = "clickstream.";
  const MAX_QUEUED = 500; // the oldest events go first
  const MAX_BATCH = 20;
  const MAX_BATCH_CHARACTERS = 30000; // browsers limit what may be sent while a page is closed
  const SEND_AFTER = 300; // milliseconds; events that happen together are sent together
  const MAX_BACKOFF = 60000;
  const DAY = 86400000;
  const MIN_ENGAGED = 1000;

  const script = document.currentScript;
  const options = script ? script.dataset : {};
  const address = options.collector || new URL("/collect", script ? script.src : location.href).href;
  const isRefused = navigator.globalPrivacyControl === true || navigator.doNotTrack === "1";

  // == Storage: localStorage, or the memory of this page if that cannot be used ==================

  const memory = new Map();

  const storage = {
    get(name) {
      try {
        return localStorage.getItem(PREFIX + name) ?? memory.get(name) ?? null;
      } catch {
        return memory.get(name) ?? null;
      }
    },
    set(name, value) {
      try {
        localStorage.setItem(PREFIX + name, value);
      } catch {
        memory.set(name, value);
      }
    },
    remove(name) {
      memory.delete(name);
      try {
        localStorage.removeItem(PREFIX + name);
      } catch {
        // it was in the memory
      }
    },
    names(start) {
      const found = [...memory.keys()];
      try {
        for (let n = 0; n < localStorage.length; n++) {
          const key = localStorage.key(n);
          if (key.startsWith(PREFIX)) found.push(key.slice(PREFIX.length));
        }
      } catch {
        // all of them are in the memory
      }
      return found.filter((name) => name.startsWith(start)).sort();
    },
  };

  // == Visitor and consent =======================================================================

  let lastIdTime = 0;

  // UUIDv7: its text sorts by time. Events of one millisecond keep their order.
  const newId = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    lastIdTime = Math.max(Date.now(), lastIdTime + 1);
    for (let n = 0; n < 6; n++) bytes[n] = Math.floor(lastIdTime / 256 ** (5 - n)) & 255;
    bytes[6] = (bytes[6] & 15) | 112;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  };

  const visitorId = () => {
    const [id, expires] = (storage.get("visitor") ?? "").split(" ");
    if (id && Number(expires) > Date.now()) return id;
    const fresh = newId();
    storage.set("visitor", `${fresh} ${Date.now() + Number(options.visitorDays || 390) * DAY}`);
    return fresh;
  };

  const isAllowed = () =>
    !isRefused && (options.consent !== "required" || storage.get("consent") === "yes");

  const consent = (given) => {
    if (given) {
      const before = isAllowed();
      storage.set("consent", "yes");
      if (!before && isAllowed()) trackPage();
      return;
    }
    for (const name of storage.names("")) storage.remove(name);
  };

  // == Engaged time: the page is visible and has the focus =======================================

  let engaged = 0;
  let engagedSince = null;

  const countEngaged = () => {
    const now = performance.now();
    if (engagedSince !== null) engaged += now - engagedSince;
    engagedSince = document.visibilityState === "visible" && document.hasFocus() ? now : null;
  };

  const takeEngaged = () => {
    countEngaged();
    const taken = Math.round(engaged);
    engaged = 0;
    return taken;
  };

  // == The queue: one key for each event, so that tabs do not overwrite each other's =============

  let clockOffset = 0; // milliseconds that the collector's clock is ahead of this one

  const track = (type, fields = {}) => {
    if (!isAllowed()) return;
    const event = {
      event_id: newId(),
      event_type: String(type),
      timestamp: new Date(Date.now() + clockOffset).toISOString(),
      user_id: visitorId(),
      page_url: location.href,
      viewport_size: `${innerWidth}x${innerHeight}`,
      engaged_ms: takeEngaged(),
      ...fields,
    };
    storage.set(`event.${event.event_id}`, JSON.stringify({ event, offset: clockOffset }));
    const queued = storage.names("event.");
    for (const name of queued.slice(0, Math.max(0, queued.length - MAX_QUEUED))) storage.remove(name);
    sendSoon(SEND_AFTER);
  };

  const queuedEvents = (most) => {
    const batch = [];
    let size = 0;
    for (const name of storage.names("event.")) {
      const text = storage.get(name);
      if (batch.length === most || (batch.length && size + text?.length > MAX_BATCH_CHARACTERS)) break;
      const entry = parsed(text);
      if (entry?.event) {
        batch.push({ name, ...entry });
        size += text.length;
      } else {
        storage.remove(name); // another program has changed it
      }
    }
    return batch;
  };

  const parsed = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  };

  const body = (batch) => JSON.stringify(batch.map(({ event }) => event));

  // == Sending ===================================================================================

  let timer = null;
  let isSending = false;
  let failures = 0;
  let notBefore = 0; // after a failure: the time of the next try
  let most = MAX_BATCH; // 1 after a refused batch, to find the event that is the cause

  const sendSoon = (delay) => {
    clearTimeout(timer);
    timer = setTimeout(send, Math.max(delay, notBefore - Date.now()));
  };

  const send = async () => {
    if (isSending) return sendSoon(SEND_AFTER);
    isSending = true;
    try {
      // One tab at a time: the others would send the same events.
      if (navigator.locks) await navigator.locks.request(`${PREFIX}send`, sendBatch);
      else await sendBatch();
    } finally {
      isSending = false;
    }
  };

  const sendBatch = async () => {
    const batch = isAllowed() ? queuedEvents(most) : [];
    if (!batch.length) return;
    let answer;
    try {
      answer = await fetch(address, {
        method: "POST",
        body: body(batch),
        headers: { "Content-Type": "text/plain" },
        credentials: "omit",
        keepalive: true,
      });
    } catch {
      retry(0);
      return;
    }
    await handle(answer, batch);
  };

  const handle = async (answer, batch) => {
    const { status } = answer;
    if (status === 204) {
      for (const { name } of batch) storage.remove(name);
      failures = notBefore = 0;
      most = MAX_BATCH;
      sendSoon(0);
    } else if (status >= 500 || status === 429 || status === 408) {
      retry(Number(answer.headers.get("Retry-After") ?? 0) * 1000);
    } else if (batch.length > 1) {
      most = 1;
      sendSoon(0);
    } else if (status === 422 && (await correctClock(answer, batch[0]))) {
      sendSoon(0);
    } else {
      storage.remove(batch[0].name); // no collector will ever accept it
      sendSoon(0);
    }
  };

  const retry = (wait) => {
    failures += 1;
    const backoff = Math.min(MAX_BACKOFF, 1000 * 2 ** failures) * (0.5 + Math.random() / 2);
    notBefore = Date.now() + Math.max(wait, backoff);
    sendSoon(0);
  };

  // The collector refused this event alone, so it never accepted it: it may get another time.
  const correctClock = async (answer, { name, event, offset }) => {
    const now = Date.parse((await answer.json().catch(() => ({}))).now);
    if (Number.isNaN(now)) return false;
    const better = now - Date.now();
    if (Math.abs(better - offset) < 1000) return false; // the clock is not the cause
    const happened = Date.parse(event.timestamp) - offset + better;
    event.timestamp = new Date(Math.min(happened, now)).toISOString();
    clockOffset = better;
    storage.set(name, JSON.stringify({ event, offset: better }));
    return true;
  };

  // A beacon is one more try: nobody can read its answer, so the events stay in the queue.
  const sendBeforeLeaving = () => {
    const left = takeEngaged();
    if (left >= MIN_ENGAGED) track("engagement", { engaged_ms: left });
    else engaged += left;
    const batch = isAllowed() ? queuedEvents(MAX_BATCH) : [];
    if (batch.length && !navigator.sendBeacon?.(address, body(batch))) send();
  };

  // == What is tracked ===========================================================================

  let lastPage = null;

  const trackPage = () => {
    const referrer = lastPage ?? document.referrer;
    lastPage = location.href;
    track("page_view", referrer ? { referrer } : {});
  };

  const trackNavigation = () => {
    if (location.href !== lastPage) trackPage();
  };

  const trackClick = ({ target }) => {
    const element = target.closest?.("[data-track]");
    if (!element) return;
    const fields = element.id ? { element_id: element.id } : {};
    for (const [name, value] of Object.entries(element.dataset)) {
      if (name !== "track") fields[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)] = value;
    }
    track(element.dataset.track || "click", fields);
  };

  const pushState = history.pushState;
  history.pushState = function (...state) {
    const result = pushState.apply(this, state);
    trackNavigation();
    return result;
  };
  addEventListener("popstate", trackNavigation);
  addEventListener("pageshow", ({ persisted }) => persisted && trackPage());
  addEventListener("focus", countEngaged);
  addEventListener("blur", countEngaged);
  addEventListener("online", () => {
    notBefore = 0;
    sendSoon(0);
  });
  document.addEventListener("click", trackClick, true);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") sendBeforeLeaving();
    else countEngaged();
  });

  globalThis.clickstream = { track, consent };
  countEngaged();
  trackPage();
})();
