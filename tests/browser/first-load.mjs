/**
 * Measures the first load of the page, each time in a new profile: on this machine without limits,
 * and at 1.6 Mbit/s with 150 ms of latency and a quarter of the processor's speed.
 *
 * Usage: node first-load.mjs --chromium PATH --url URL [--loads N]
 * Prints `measured` for each profile: medians of the time until the page is readable, of the time
 * from the click on the button to a verified head, and of the bytes over HTTP.
 */
import { parseArgs } from "node:util";
import { attribute, launch, part, print } from "./chromium.mjs";

const BITS_PER_BYTE = 8;
/** Lighthouse's limits for a phone. */
const SLOW = { down_bits: 1_600_000, up_bits: 750_000, latency_ms: 150, cpu: 4 };

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    chromium: { type: "string" },
    loads: { type: "string", default: "3" },
  },
});
const { browser, close } = await launch(values.chromium);

for (const [profile, limits] of [["loopback", null], ["slow", SLOW]]) {
  const loads = [];
  for (let n = 0; n < Number(values.loads); n += 1) loads.push(await load(limits));
  const sorted = (field) => loads.map((load) => load[field]).toSorted((a, b) => a - b);
  const median = (field) => sorted(field)[loads.length >> 1];
  print({
    event: "measured",
    profile,
    loads: loads.length,
    shown_ms: median("shown_ms"),
    head_ms: median("head_ms"),
    bytes: median("bytes"),
    files: loads[0].files,
  });
}
await close();

/** One load in a context with an empty cache. */
async function load(limits) {
  const context = await browser.newContext({ locale: "en-US" });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  if (limits !== null) {
    await session.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: limits.latency_ms,
      downloadThroughput: limits.down_bits / BITS_PER_BYTE,
      uploadThroughput: limits.up_bits / BITS_PER_BYTE,
    });
    await session.send("Emulation.setCPUThrottlingRate", { rate: limits.cpu });
  }
  const requests = new Map();
  session.on("Network.requestWillBeSent", ({ requestId, request }) =>
    requests.set(requestId, { url: request.url, bytes: 0 }),
  );
  session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    const request = requests.get(requestId);
    if (request) request.bytes = encodedDataLength;
  });
  const began = performance.now();
  await page.goto(values.url, { waitUntil: "commit" });
  await part(page, "join").click();
  const joined = performance.now();
  await attribute(page, "head-height", "data-height");
  const verified = performance.now();
  const files = [...requests.values()].filter(({ url }) => url.startsWith("http"));
  await context.close();
  const name = (url) => new URL(url).pathname;
  return {
    shown_ms: Math.round(joined - began),
    head_ms: Math.round(verified - joined),
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    files: Object.fromEntries(files.map(({ url, bytes }) => [name(url), bytes])),
  };
}
