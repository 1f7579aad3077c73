/**
 * The browser half of tequio-webrtc in a real tab, against `tequio-webrtc-peer`.
 *
 * Usage: node webrtc.mjs --chromium PATH --module FOLDER --addr MULTIADDR --websocket MULTIADDR
 * --peer PID [--v1] [--flag FLAG] [--mib N]
 * Prints an event after each passed step, `measured` with the figures of WebRTC and of WebSocket to
 * the same peer, then `waiting`. From then on the peer may disappear: `lost` means that the tab has
 * detected this. After the peer's return, `again` means that the tab has connected. Last, a second
 * tab connects (`doomed`), and its renderer is killed.
 */
import { readFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { print } from "./chromium.mjs";
import { MIB, connect as connectTo, rate, start, timed, timedOf } from "./webrtc-page.mjs";

/** Transfers each way by each transport, alternating; the fastest counts. */
const ROUNDS = 3;

const { values } = parseArgs({
  options: {
    chromium: { type: "string" },
    module: { type: "string" },
    addr: { type: "string" },
    websocket: { type: "string" },
    peer: { type: "string" },
    v1: { type: "boolean", default: false },
    flag: { type: "string", multiple: true, default: [] },
    mib: { type: "string", default: "16" },
  },
});

const { browser, tab, close } = await start(values.chromium, values.module, values.flag);
const connect = (page) => connectTo(page, values.addr, values.v1);
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

const { page, errors } = await tab();
const connects = [await connect(page)];
print({ event: "connected" });
await timed(page, "echo", 64 * 1024);
print({ event: "small" });

const bytes = Number(values.mib) * MIB;
const system = await browser.newBrowserCDPSession();

/** Processor time of all processes of the browser and of the peer, in milliseconds. */
async function cpuMs() {
  const { processInfo } = await system.send("SystemInfo.getProcessInfo");
  const stat = await readFile(`/proc/${values.peer}/stat`, "utf8");
  // User and system time are fields 14 and 15, in hundredths of a second; field 2 may hold spaces.
  const [user, kernel] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13);
  const browserMs = processInfo.reduce((sum, { cpuTime }) => sum + 1000 * cpuTime, 0);
  return browserMs + 10 * (Number(user) + Number(kernel));
}

const load = Math.round(loadavg()[0] * 10) / 10;
const transports = {
  webrtc: { peer: "peer", down: [], up: [], cpuMs: [] },
  websocket: { peer: "websocket", down: [], up: [], cpuMs: [] },
};
await page.evaluate(
  async (addr) => (window.websocket = await window.webrtc.connectWebSocket(addr)),
  values.websocket,
);
for (let round = 0; round < ROUNDS; round += 1) {
  for (const { peer, down, up, cpuMs: cpu } of Object.values(transports)) {
    const before = await cpuMs();
    down.push(rate(await timedOf(peer, page, "download", bytes, 0), bytes));
    up.push(rate(await timedOf(peer, page, "upload", bytes, false), bytes));
    cpu.push(((await cpuMs()) - before) / (2 * Number(values.mib)));
  }
}
await page.evaluate(() => window.websocket.free());
print({ event: "large" });

await page.evaluate(() => Promise.all(Array.from({ length: 16 }, () => window.peer.echo(1 << 20))));
print({ event: "sixteen" });

const rpc = await page.evaluate(async () => {
  const times = [];
  for (let n = 0; n < 1000; n += 1) {
    const began = performance.now();
    await window.peer.echo(n);
    times.push(performance.now() - began);
  }
  return times;
});
print({ event: "thousand" });

// First the tab delays its reads, then the peer.
await timed(page, "download", bytes, 3000);
await timed(page, "upload", bytes, true);
print({ event: "slow" });

for (let n = 0; n < 9; n += 1) {
  await page.evaluate(() => window.peer.free());
  connects.push(await connect(page));
}

/** The figures of a transport. */
function figures({ down, up, cpuMs }, prefix) {
  const [fastestDown, fastestUp] = [Math.max(...down), Math.max(...up)];
  return {
    [`${prefix}mib_per_s`]: Math.min(fastestDown, fastestUp),
    [`${prefix}down_mib_per_s`]: fastestDown,
    [`${prefix}up_mib_per_s`]: fastestUp,
    [`${prefix}cpu_ms_per_mib`]: Math.round(Math.min(...cpuMs) * 10) / 10,
  };
}
print({
  event: "measured",
  load,
  ...figures(transports.webrtc, ""),
  rpc_ms_p50: Math.round(median(rpc) * 100) / 100,
  connect_ms: Math.round(median(connects)),
  ...figures(transports.websocket, "websocket_"),
  rounds: transports,
});

const lost = page.evaluate(async () => {
  const reason = await window.peer.closed();
  return reason;
});
print({ event: "waiting" });
print({ event: "lost", reason: await lost });

// The caller restarts the peer at the same address, with the same certificate.
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
print({ event: "again" });

const doomed = await tab();
await connect(doomed.page);
print({ event: "doomed" });
// The renderer is killed, so it cannot close the connection.
doomed.page.removeAllListeners("crash");
const session = await doomed.context.newCDPSession(doomed.page);
// The killed renderer cannot answer.
session.send("Page.crash").catch(() => {});
print({ event: "crashed" });

if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page`);
// The script stays alive, so that the browser's end does not close the connection earlier.
setTimeout(close, 30_000);
