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
 * collector has answered 204. So it is sent again as often as needed and counts once.
 */
(() => {
  "use strict";

  const PREFIX = "clickstream.";
  const MAX_QUEUED = 500; // the oldest events go first
  const MAX_BATCH = 20;
  const MAX_BATCH_CHARACTERS = 30000; // browsers limit what may be sent while a page is closed
  const MAX_KEEPALIVE_BYTES = 60000; // browsers refuse more than 64 KiB if the page may be closed
  const SEND_AFTER = 300; // milliseconds; events that happen together are sent together
  const ANSWER_WITHIN = 30000;
  const MAX_BACKOFF = 60000;
  const MAX_WAIT = 3600000;
  const DAY = 86400000;
  const MIN_ENGAGED = 1000;

  // Statuses of the collector for an event that it will never accept.
  const NEVER = [400, 413, 422];
  // Data attributes that are no fields: a click keeps its own id, type, time and visitor.
  const NO_FIELDS = ["track", "eventId", "eventType", "timestamp", "userId"];

  const script = document.currentScript;
  const options = script ? script.dataset : {};
  const address = options.collector || new URL("/collect", script?.src || location.href).href;
  const isRefused = navigator.globalPrivacyControl === true || navigator.doNotTrack === "1";

  // An error of this script must not stop the page.
  const quietly =
    (task) =>
    (...given) => {
      try {
        return task(...given);
      } catch (error) {
        console.warn("clickstream:", error);
      }
    };

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
        memory.delete(name);
      } catch {
        this.remove(name); // an older value would be found first
        memory.set(name, value);
      }
    },
    remove(name) {
      memory.delete(name);
      try {
        localStorage.removeItem(PREFIX + name);
      } catch {
        // without localStorage, the event was only in `memory`
      }
    },
    names(start) {
      const found = [...memory.keys()];
      try {
        for (let n = 0; n < localStorage.length; n++) {
          const key = localStorage.key(n);
          if (key?.startsWith(PREFIX)) found.push(key.slice(PREFIX.length));
        }
      } catch {
        // without localStorage, all names are in `memory`
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
    const days = options.visitorDays > 0 ? options.visitorDays : 390;
    storage.set("visitor", `${fresh} ${Date.now() + days * DAY}`);
    return fresh;
  };

  const isAsked = options.consent === "required";

  const isAllowed = () =>
    !isRefused && (isAsked ? storage.get("consent") === "yes" : storage.get("consent") !== "no");

  const consent = (given) => {
    if (given) {
      const before = isAllowed();
      storage.set("consent", "yes");
      if (!before && isAllowed()) {
        takeEngaged(); // without consent
        trackPage();
      }
      return;
    }
    for (const name of storage.names("")) storage.remove(name);
    if (!isAsked) storage.set("consent", "no");
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
  let clockStart = 0; // of the clock that this holds for

  const startOfClock = () => Date.now() - performance.now(); // changes if the clock is set

  const collectorTime = () => {
    if (startOfClock() < clockStart - 60000) clockOffset = 0; // somebody has set the clock back
    return Date.now() + clockOffset;
  };

  const track = (type, fields = {}) => {
    if (!isAllowed()) return;
    const event = {
      event_type: String(type),
      user_id: visitorId(),
      page_url: location.href,
      viewport_size: `${innerWidth}x${innerHeight}`,
      engaged_ms: takeEngaged(),
      ...fields,
      event_id: newId(),
      timestamp: new Date(collectorTime()).toISOString(),
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
        batch.push({ name, text, ...entry });
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

  // Each event by itself: old libraries change how arrays become JSON.
  const body = (batch) => `[${batch.map(({ event }) => JSON.stringify(event)).join()}]`;

  // == Sending ===================================================================================

  let timer = null;
  let isSending = false;
  let failures = 0;
  let notBefore = 0; // after a failure: performance.now() of the next try
  let most = MAX_BATCH; // 1 after a refused batch, to find the event that is the cause

  const sendSoon = (delay) => {
    clearTimeout(timer);
    timer = setTimeout(send, Math.max(delay, notBefore - performance.now()));
  };

  const send = async () => {
    if (isSending) return sendSoon(SEND_AFTER);
    isSending = true;
    try {
      // One tab at a time: the others would send the same events.
      if (navigator.locks) await navigator.locks.request(`${PREFIX}send`, sendBatch).catch(sendBatch);
      else await sendBatch();
    } finally {
      isSending = false;
    }
  };

  const sendBatch = async () => {
    try {
      await sendQueued();
    } catch {
      retry(0); // the network, or an answer that cannot be read
    }
  };

  const sendQueued = async () => {
    const batch = isAllowed() ? queuedEvents(most) : [];
    if (!batch.length) return;
    const text = body(batch);
    const answer = await fetch(address, {
      method: "POST",
      body: text,
      headers: { "Content-Type": "text/plain" },
      credentials: "omit",
      keepalive: new Blob([text]).size <= MAX_KEEPALIVE_BYTES,
      signal: AbortSignal.timeout?.(ANSWER_WITHIN),
    });
    await handle(answer, batch);
  };

  const handle = async (answer, batch) => {
    const { status } = answer;
    if (status === 204) {
      for (const { name } of batch) storage.remove(name);
      failures = notBefore = 0;
      most = MAX_BATCH;
      sendSoon(0);
    } else if (!NEVER.includes(status)) {
      retry(Number(answer.headers.get("Retry-After")) * 1000 || 0);
    } else if (batch.length > 1) {
      most = 1;
      sendSoon(0);
    } else {
      if (status !== 422 || !(await correctClock(answer, batch[0]))) storage.remove(batch[0].name);
      sendSoon(0);
    }
  };

  const retry = (wait) => {
    failures += 1;
    const backoff = Math.min(MAX_BACKOFF, 1000 * 2 ** failures) * (0.5 + Math.random() / 2);
    notBefore = performance.now() + Math.min(MAX_WAIT, Math.max(wait, backoff));
    sendSoon(0);
  };

  // The collector has refused only this event and never accepted it: it may get another time, once.
  const correctClock = async (answer, { name, text, event, offset, isCorrected }) => {
    const now = Date.parse((await answer.json().catch(() => ({}))).now);
    if (Number.isNaN(now) || isCorrected) return false;
    const better = now - Date.now();
    // If the clock was corrected since, nobody knows how wrong it was.
    const isRight = !(Math.abs(better - offset) >= 1000);
    const happened = isRight ? now : Date.parse(event.timestamp) - offset + better;
    event.timestamp = new Date(Math.min(happened || now, now)).toISOString();
    clockOffset = better;
    clockStart = startOfClock();
    // Another tab may have sent or corrected it, and the visitor may have withdrawn the consent.
    if (storage.get(name) === text) {
      storage.set(name, JSON.stringify({ event, offset: better, isCorrected: true }));
    }
    return true;
  };

  // A beacon is one more try: its answer cannot be read, so the events stay in the queue.
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
    if (!isAllowed()) return;
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
    const fields = element.id ? { element_id: String(element.id) } : {};
    for (const [name, value] of Object.entries(element.dataset)) {
      if (NO_FIELDS.includes(name)) continue;
      fields[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)] = value;
    }
    track(element.dataset.track || "click", fields);
  };

  const listen = (target, name, listener) => target.addEventListener(name, quietly(listener), true);

  const pushState = history.pushState;
  history.pushState = function (...state) {
    const result = pushState.apply(this, state);
    quietly(trackNavigation)();
    return result;
  };
  listen(globalThis, "popstate", trackNavigation);
  listen(globalThis, "pageshow", ({ persisted }) => persisted && trackPage());
  listen(globalThis, "focus", countEngaged);
  listen(globalThis, "blur", countEngaged);
  listen(globalThis, "online", () => {
    notBefore = 0;
    sendSoon(0);
  });
  listen(document, "click", trackClick);
  listen(document, "visibilitychange", () => {
    if (document.visibilityState === "hidden") sendBeforeLeaving();
    else countEngaged();
  });

  globalThis.clickstream = { track: quietly(track), consent: quietly(consent) };
  quietly(countEngaged)();
  quietly(trackPage)();
})();
