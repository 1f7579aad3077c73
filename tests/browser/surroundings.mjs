/**
 * The npm package in difficult environments: storage that is forbidden, cannot hold the key, or is
 * closed or cleared during the session; wrong clocks; a dead or silent relay; a policy that forbids
 * the connection.
 *
 * Usage: node surroundings.mjs --chromium PATH --url URL-OF-THE-PAGE
 * Prints one event for each of them, with the result of the program.
 */
import { createServer } from "node:net";
import { parseArgs } from "node:util";
import { launch, print } from "./chromium.mjs";
import { html, launchParamsOf, serve } from "./package-page.mjs";

const DAY_MS = 86_400_000;
const { values } = parseArgs({
  options: { chromium: { type: "string" }, url: { type: "string" } },
});
const { origin, hash } = launchParamsOf(values.url);
const policy = `<meta http-equiv="Content-Security-Policy" content="connect-src 'self'">`;
const script =
  'import * as tequio from "tequio"; window.tequio = tequio; document.body.dataset.ready = "";';
const { base, close: closeServer } = await serve(
  { "page.html": html("/page.ts"), "policy.html": html("/page.ts", policy), "page.ts": script },
  origin,
);
const { browser, close } = await launch(values.chromium);

/** Opens a page whose environment `prepare` changes before any script runs. */
async function visit(prepare, argument, path = "/page.html") {
  const context = await browser.newContext();
  const page = await context.newPage();
  if (prepare) await page.addInitScript(prepare, argument);
  await page.goto(base + path);
  await page.locator("body[data-ready]").waitFor({ state: "attached" });
  return { page, context };
}

/** Connects, and returns the status or the error; `window.events` collects the events. */
const connect = (page, options = {}) =>
  page.evaluate(
    async ([hash, options]) => {
      window.events = [];
      const began = performance.now();
      try {
        window.node = await window.tequio.connect({
          checkpoint: { url: "/checkpoint.bin", hash },
          ...(options.relays ? {} : { wellKnown: "/.well-known/tequio.json" }),
          ...options,
          onEvent: (event) => window.events.push(event),
        });
        const { storage, node } = window.node.status();
        return { storage, node };
      } catch (error) {
        const { code, message, details, name } = error;
        return { code, message, details, name, ms: Math.round(performance.now() - began) };
      }
    },
    [hash, options],
  );

/** Waits for an event of the node, and returns it. */
async function eventOf(page, type, field, value) {
  const found = await page.waitForFunction(
    ([type, field, value]) =>
      window.events.find(
        (event) => event.type === type && (field === undefined || event[field] === value),
      ),
    [type, field, value],
    { timeout: 60_000 },
  );
  return found.jsonValue();
}

{
  const { page, context } = await visit(() => {
    const denied = () => {
      throw new DOMException("denied", "SecurityError");
    };
    for (const name of ["indexedDB", "localStorage", "sessionStorage"]) {
      Object.defineProperty(window, name, { get: denied });
    }
    navigator.locks.request = () => Promise.reject(new DOMException("denied", "SecurityError"));
  });
  print({ event: "forbidden", ...(await connect(page)) });
  await context.close();
}
{
  const { page, context } = await visit(() => {
    const put = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = function (value, key) {
      if (value instanceof CryptoKey) {
        throw new DOMException("The object can not be cloned.", "DataCloneError");
      }
      return put.call(this, value, key);
    };
  });
  print({ event: "unclonable", ...(await connect(page)) });
  await context.close();
}
{
  const { page, context } = await visit(() => {
    const open = IDBFactory.prototype.open;
    window.databases = [];
    IDBFactory.prototype.open = function (...given) {
      const request = open.apply(this, given);
      request.addEventListener("success", () => window.databases.push(request.result));
      return request;
    };
  });
  const { node } = await connect(page);
  await page.evaluate(() => window.databases.at(-1).close());
  await eventOf(page, "storage", "state", "reopened");
  const kept = (await page.evaluate(() => window.node.status())).storage;
  await page.evaluate(async () => {
    window.databases.at(-1).close();
    await new Promise((resolve) => (indexedDB.deleteDatabase("tequio").onsuccess = resolve));
  });
  await eventOf(page, "storage", "state", "identityLost");
  await page.reload();
  await page.locator("body[data-ready]").waitFor({ state: "attached" });
  const after = await connect(page);
  print({ event: "closed", storage: kept, another: after.node !== node });
  await context.close();
}
for (const [event, aheadMs] of [["ahead", 15_000], ["behind", -3_600_000]]) {
  const { page, context } = await visit((aheadMs) => {
    const now = Date.now;
    Date.now = () => now() + aheadMs;
  }, aheadMs);
  await connect(page);
  const { offsetMs } = await eventOf(page, "clock");
  const stale = await page.evaluate(
    () => window.events.some(({ type }) => type === "stale") || window.node.status().head.stale,
  );
  print({ event, offBy: offsetMs - aheadMs, stale });
  await context.close();
}
{
  const { page, context } = await visit((aheadMs) => {
    const now = Date.now;
    Date.now = () => now() + aheadMs;
  }, 40 * DAY_MS);
  const { code, message, details } = await connect(page);
  print({ event: "far", code, message, offBy: details.clockOffsetMs - 40 * DAY_MS });
  await context.close();
}
{
  const silent = createServer(() => {});
  await new Promise((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { page, context } = await visit();
  const peer = "12D3KooWGjMCZ2tWqs1tPqoB3KpGzBPSJgCyGSpd7aVUfs9hZDUH";
  const relay = (port) => ({ relays: [`/ip4/127.0.0.1/tcp/${port}/ws/p2p/${peer}`] });
  const [dead, mute] = [
    await connect(page, relay(1)),
    await connect(page, relay(silent.address().port)),
  ];
  print({ event: "dead", codes: [dead.code, mute.code], ms: Math.max(dead.ms, mute.ms) });
  await context.close();
  silent.close();
}
{
  const { page, context } = await visit(null, null, "/policy.html");
  const relays = await page.evaluate(async () => {
    const { relays } = await (await fetch("/.well-known/tequio.json")).json();
    return relays.filter((relay) => relay.includes("/ws"));
  });
  const { code, details } = await connect(page, { relays });
  print({ event: "policy", code, directive: details?.directive });
  await context.close();
}
await close();
await closeServer();
