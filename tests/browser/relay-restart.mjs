/**
 * A tab that has a reservation at a relay and holds a circuit through it, while the relay is restarted.
 *
 * Usage: node relay-restart.mjs --chromium PATH --module FOLDER --relay MULTIADDR --peer MULTIADDR
 * Prints `reserved` (the address by which others reach the tab), `relayed` (it holds the circuit and has moved bytes over
 * it), and then for each restart `lost` and `back`: the node has come back by itself, and bytes pass again. It ends when it
 * is told to.
 */
import { parseArgs } from "node:util";
import { say } from "./chromium.mjs";
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

/** Waits for the next word that the node says of the kept peer; returns the rest. */
let heard = 0;
async function next(word) {
  const found = await page.waitForFunction(
    ([word, from]) => {
      const at = window.said.findIndex((said, at) => at >= from && said[0] === word && said[1] === window.kept);
      return at < 0 ? null : [at, window.said[at][2]];
    },
    [word, heard],
    { timeout: WAIT_MS },
  );
  const [at, text] = await found.jsonValue();
  heard = at + 1;
  return text;
}

/** The peer's name is known once it is connected. */
async function connected() {
  const path = await next("connected");
  await page.evaluate((bytes) => window.node.echo(window.kept, bytes), BYTES);
  return path;
}

await page.evaluate(async (relay) => {
  window.said = [];
  window.node = await window.webrtc.Tab.start(relay, [], false, (...words) => window.said.push(words));
}, values.relay);
say({ event: "reserved", addr: await page.evaluate(() => window.node.listen()), node: await page.evaluate(() => window.node.id()) });
await page.evaluate(async (peer) => {
  [window.kept] = await window.node.dial(peer);
  await window.node.keep(peer);
}, values.peer);
say({ event: "relayed", path: await connected() });
for (;;) {
  say({ event: "lost", reason: await next("disconnected") });
  const began = performance.now();
  const path = await connected();
  if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page: ${errors[0]}`);
  say({ event: "back", path, ms: Math.round(performance.now() - began) });
}
