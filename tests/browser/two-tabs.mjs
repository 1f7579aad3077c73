/**
 * Two tabs find each other through a relay and connect browser to browser.
 *
 * Usage: node two-tabs.mjs --chromium PATH --module FOLDER --relay MULTIADDR --http URL
 * [--turn-only] [--flag FLAG]
 * Prints `relayed` for the circuit, `direct` once a direct connection has replaced it, `moved`
 * after 4 MiB each way, `measured`, `gone` once the first tab has detected the end of the second,
 * and `clean` if there was no error. With `--turn-only` the tabs use only the TURN server that the
 * relay's well-known file names.
 */
import { parseArgs } from "node:util";
import { print } from "./chromium.mjs";
import { MIB, start } from "./webrtc-page.mjs";

const { values } = parseArgs({
  options: {
    chromium: { type: "string" },
    module: { type: "string" },
    relay: { type: "string" },
    http: { type: "string" },
    "turn-only": { type: "boolean", default: false },
    flag: { type: "string", multiple: true, default: [] },
  },
});

const WAIT_MS = 60_000;
const browser = await start(values.chromium, values.module, values.flag);

async function ice() {
  if (!values["turn-only"]) return [];
  const { iceServers } = await (await fetch(`${values.http}/.well-known/tequio.json`)).json();
  const turn = iceServers.map((server) => ({
    ...server,
    url: [server.urls].flat().find((url) => url.startsWith("turn:")),
  }));
  const { url, username, credential } = turn.find((server) => server.url !== undefined);
  return [url, username, credential];
}

/** Opens a page with a node; `window.events` collects the node's events. */
async function node() {
  const { page, context, errors } = await browser.tab();
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(new Error(message.text()));
  });
  await page.evaluate(
    async ([relay, ice, turnOnly]) => {
      window.events = [];
      window.node = await window.webrtc.Tab.start(relay, ice, turnOnly, (...event) =>
        window.events.push(event),
      );
    },
    // The first credential is invalid; the call of `setIce` below replaces it.
    [
      values.relay,
      (await ice()).map((text, at) => (at === 2 ? "expired" : text)),
      values["turn-only"],
    ],
  );
  await page.evaluate((ice) => window.node.setIce(ice), await ice());
  return { page, context, errors, id: await page.evaluate(() => window.node.id()) };
}

/** Waits for an event of this kind about a peer, with `text` if given; returns its text. */
async function eventOf(page, kind, peer, text) {
  const event = await page.waitForFunction(
    ([kind, peer, text]) =>
      window.events.find(
        (event) => event[0] === kind && event[1] === peer && (text === null || event[2] === text),
      ),
    [kind, peer, text ?? null],
    { timeout: WAIT_MS },
  );
  return (await event.jsonValue())[2];
}

const [first, second] = [await node(), await node()];
const address = await second.page.evaluate(() => window.node.listen());
const began = performance.now();
const [peer, path] = await first.page.evaluate((address) => window.node.dial(address), address);
if (peer !== second.id) throw new Error(`${peer} answered, not ${second.id}`);
print({ event: "relayed", path });

// The nodes connect directly on their own, and both report it.
await eventOf(first.page, "path", second.id, "direct webrtc");
await eventOf(second.page, "path", first.id, "direct webrtc");
const directMs = performance.now() - began;
// The circuit closes once the direct connection has carried a ping. The relay counts open circuits.
const deadline = Date.now() + WAIT_MS;
const metrics = async () => (await fetch(`${values.http}/metrics`)).text();
while (!/^tequio_relay_circuits_open 0$/m.test(await metrics())) {
  if (Date.now() > deadline) throw new Error("the circuit is still open");
}
print({ event: "direct" });

const echo = (tab, other, len) =>
  tab.page.evaluate(([peer, len]) => window.node.echo(peer, len), [other.id, len]);
const moved = performance.now();
await echo(first, second, 4 * MIB);
await echo(second, first, 4 * MIB);
const movedMs = performance.now() - moved;
await Promise.all([echo(first, second, 4 * MIB), echo(second, first, 4 * MIB)]);
print({ event: "moved" });

const rpc = await first.page.evaluate(async (peer) => {
  const times = [];
  for (let n = 0; n < 200; n += 1) {
    const began = performance.now();
    await window.node.echo(peer, n);
    times.push(performance.now() - began);
  }
  return times.toSorted((a, b) => a - b)[times.length >> 1];
}, second.id);
const route = await first.page.evaluate((peer) => window.node.route(peer), second.id);
const routeBack = await second.page.evaluate((peer) => window.node.route(peer), first.id);
print({
  event: "measured",
  route,
  routeBack,
  direct_ms: Math.round(directMs),
  mib_per_s: Math.round(160_000 / movedMs) / 10,
  rpc_ms_p50: Math.round(rpc * 100) / 100,
});

const closed = performance.now();
await second.context.close();
const reason = await eventOf(first.page, "disconnected", second.id);
print({ event: "gone", reason, ms: Math.round(performance.now() - closed) });

// A closed node must leave no handler that could fail later.
await first.page.evaluate(() => window.node.close());
await first.page.evaluate(() => new Promise((done) => setTimeout(done)));
const errors = [...first.errors, ...second.errors];
if (errors.length > 0) throw new Error(`${errors.length} error(s) on the pages: ${errors[0]}`);
print({ event: "clean" });
await browser.close();
