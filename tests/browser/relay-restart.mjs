/**
 * A tab with a reservation at a relay and a circuit through it, while the relay restarts.
 *
 * Usage: node relay-restart.mjs --chromium PATH --module FOLDER --relay MULTIADDR --peer MULTIADDR
 * Prints `reserved` with the tab's address, `relayed` once bytes have passed over the circuit, and
 * for each restart `lost` and `back`: the node has reconnected on its own, and bytes pass again.
 * The script runs until it is killed.
 */
import { parseArgs } from "node:util";
import { print } from "./chromium.mjs";
import { start } from "./webrtc-page.mjs";

const { values } = parseArgs({
  options: {
    chromium: { type: "string" },
    module: { type: "string" },
    relay: { type: "string" },
    peer: { type: "string" },
  },
});

const WAIT_MS = 120_000;
const BYTES = 256 << 10;
const browser = await start(values.chromium, values.module, []);
const { page, errors } = await browser.tab();

/** Number of events of the node that have been read. */
let read = 0;
/** Waits for the next event of this kind for the persistent peer; returns its text. */
async function next(kind) {
  const found = await page.waitForFunction(
    ([kind, from]) => {
      const at = window.events.findIndex(
        (event, at) => at >= from && event[0] === kind && event[1] === window.persistent,
      );
      return at < 0 ? null : [at, window.events[at][2]];
    },
    [kind, read],
    { timeout: WAIT_MS },
  );
  const [at, text] = await found.jsonValue();
  read = at + 1;
  return text;
}

/** Waits for the connection, moves bytes over it, and returns its path. */
async function connected() {
  const path = await next("connected");
  await page.evaluate((bytes) => window.node.echo(window.persistent, bytes), BYTES);
  return path;
}

await page.evaluate(async (relay) => {
  window.events = [];
  window.node = await window.webrtc.Tab.start(relay, [], false, (...event) =>
    window.events.push(event),
  );
}, values.relay);
print({
  event: "reserved",
  addr: await page.evaluate(() => window.node.listen()),
  node: await page.evaluate(() => window.node.id()),
});
await page.evaluate(async (peer) => {
  [window.persistent] = await window.node.dial(peer);
  await window.node.keep(peer);
}, values.peer);
print({ event: "relayed", path: await connected() });
for (;;) {
  print({ event: "lost", reason: await next("disconnected") });
  const began = performance.now();
  const path = await connected();
  if (errors.length > 0) {
    throw new Error(`${errors.length} uncaught error(s) on the page: ${errors[0]}`);
  }
  print({ event: "back", path, ms: Math.round(performance.now() - began) });
}
