/**
 * The browser half of tequio-webrtc in a real tab, against `tequio-webrtc-peer`.
 *
 * Usage: node webrtc.mjs --chromium PATH --module FOLDER --addr MULTIADDR [--v1] [--flag FLAG] [--mib N]
 * Prints an event for each thing that was proved, the figures as `measured`, then `waiting`. From then on the peer may
 * go away: `lost` says that the tab has noticed. Once it is back, `again` says that it was reached. Last, a second tab
 * connects (`doomed`) and is torn away without a word.
 */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join, normalize } from "node:path";
import { parseArgs } from "node:util";
import { launch, open, say } from "./chromium.mjs";

const MIB = 1 << 20;
const { values } = parseArgs({
  options: {
    chromium: { type: "string" },
    module: { type: "string" },
    addr: { type: "string" },
    v1: { type: "boolean", default: false },
    flag: { type: "string", multiple: true, default: [] },
    mib: { type: "string", default: "16" },
  },
});

const TYPES = { js: "text/javascript", wasm: "application/wasm", html: "text/html" };
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
  import init, * as webrtc from "./tequio_webrtc_page.js";
  await init({ module_or_path: "./tequio_webrtc_page_bg.wasm" });
  window.webrtc = webrtc;
</script>`;
const server = createServer(async (request, response) => {
  const name = normalize(request.url === "/" ? "/index.html" : request.url);
  const body = name === "/index.html" ? PAGE : await readFile(join(values.module, name)).catch(() => null);
  response.writeHead(body === null ? 404 : 200, { "content-type": TYPES[name.split(".").pop()] ?? "text/plain" });
  response.end(body);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));

const { browser, close } = await launch(values.chromium, values.flag);
const tab = async () => {
  const opened = await open(browser, `http://127.0.0.1:${server.address().port}/`);
  await opened.page.waitForFunction(() => window.webrtc !== undefined);
  return opened;
};
const connect = (page) =>
  page.evaluate(
    async ([addr, v1]) => {
      const began = performance.now();
      window.peer = await window.webrtc.connect(addr, v1);
      return performance.now() - began;
    },
    [values.addr, values.v1],
  );
/** Runs a function of the page's peer and returns how long it took. */
const timed = (page, name, ...rest) =>
  page.evaluate(
    async ([name, rest]) => {
      const began = performance.now();
      await window.peer[name](...rest);
      return performance.now() - began;
    },
    [name, rest],
  );
const rate = (ms, bytes) => Math.round((bytes / MIB / (ms / 1000)) * 10) / 10;
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

const { page, errors } = await tab();
const connects = [await connect(page)];
say({ event: "connected" });
await timed(page, "echo", 64 * 1024);
say({ event: "small" });

const bytes = Number(values.mib) * MIB;
const down = rate(await timed(page, "download", bytes, 0), bytes);
const up = rate(await timed(page, "upload", bytes, false), bytes);
say({ event: "large" });

await page.evaluate(() => Promise.all(Array.from({ length: 16 }, () => window.peer.echo(1 << 20))));
say({ event: "sixteen" });

const rpc = await page.evaluate(async () => {
  const times = [];
  for (let n = 0; n < 1000; n += 1) {
    const began = performance.now();
    await window.peer.echo(n);
    times.push(performance.now() - began);
  }
  return times;
});
say({ event: "thousand" });

// The tab does not read at first, then the peer does not.
await timed(page, "download", bytes, 3000);
await timed(page, "upload", bytes, true);
say({ event: "slow" });

for (let n = 0; n < 9; n += 1) {
  await page.evaluate(() => window.peer.free());
  connects.push(await connect(page));
}
say({
  event: "measured",
  down_mib_per_s: down,
  up_mib_per_s: up,
  rpc_ms_p50: Math.round(median(rpc) * 100) / 100,
  connect_ms: Math.round(median(connects)),
});

const lost = page.evaluate(async () => {
  const reason = await window.peer.closed();
  return reason;
});
say({ event: "waiting" });
say({ event: "lost", reason: await lost });

// Somebody restarts it at the same address, with the same certificate.
const deadline = Date.now() + 60_000;
for (;;) {
  try {
    await connect(page);
    break;
  } catch (error) {
    if (Date.now() > deadline) throw error;
  }
}
await timed(page, "echo", MIB);
say({ event: "again" });

const doomed = await tab();
await connect(doomed.page);
say({ event: "doomed" });
// The renderer is killed: nothing in it says goodbye.
doomed.page.removeAllListeners("crash");
const session = await doomed.context.newCDPSession(doomed.page);
// Nobody is left to answer.
session.send("Page.crash").catch(() => {});
say({ event: "crashed" });

if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page`);
// Stays until it is ended, so that nothing else of the browser closes the connection.
setTimeout(async () => {
  await close();
  server.close();
}, 30_000);
