/**
 * A tab under load, against `tequio-webrtc-peer`.
 *
 * Usage: node webrtc-load.mjs --chromium PATH --module FOLDER --addr MULTIADDR [--flag FLAG] and
 * one of these options:
 *   --mib N       moves N mebibytes down, down with a pause, and up. Prints `bulk` with the peak of
 *                 the tab's memory above the peak for a quarter of the bytes.
 *   --connects N  connects, echoes and disconnects N times. Prints `churned`.
 *   --cut         moves 48 MiB each way over a network that is cut meanwhile, and reconnects after
 *                 a lost connection. Prints `survived`.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { print } from "./chromium.mjs";
import { MIB, connect, rate, start, timed } from "./webrtc-page.mjs";

/** Interval between two samples of the tab's memory. */
const SAMPLE_MS = 250;
/** Attempts at a transfer before the test fails. */
const ATTEMPTS_MAX = 60;

const { values } = parseArgs({
  options: {
    chromium: { type: "string" },
    module: { type: "string" },
    addr: { type: "string" },
    flag: { type: "string", multiple: true, default: [] },
    mib: { type: "string" },
    connects: { type: "string" },
    cut: { type: "boolean", default: false },
  },
});

const { browser, tab, close } = await start(values.chromium, values.module, values.flag);
const { page, context, errors } = await tab();

/** Resident memory of all renderers, the page's JavaScript heap and its wasm memory, in bytes. */
async function memory(system, session) {
  const { processInfo } = await system.send("SystemInfo.getProcessInfo");
  const status = await Promise.all(
    processInfo
      .filter(({ type }) => type === "renderer")
      .map(({ id }) => readFile(`/proc/${id}/status`, "utf8").catch(() => "")),
  );
  const resident = status.map((text) => 1024 * Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0));
  const { metrics } = await session.send("Performance.getMetrics");
  return {
    resident: resident.reduce((sum, bytes) => sum + bytes, 0),
    heap: metrics.find(({ name }) => name === "JSHeapUsedSize").value,
    wasm: await page.evaluate(() => window.wasm.memory.buffer.byteLength),
  };
}

async function bulk(bytes) {
  const system = await browser.newBrowserCDPSession();
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable");
  await connect(page, values.addr, false);
  /** The peak of the tab's memory during `work`. */
  const peakDuring = async (work) => {
    const peak = await memory(system, session);
    let isOver = false;
    const watching = (async () => {
      while (!isOver) {
        const now = await memory(system, session);
        for (const name of Object.keys(peak)) peak[name] = Math.max(peak[name], now[name]);
        await new Promise((later) => setTimeout(later, SAMPLE_MS));
      }
    })();
    await work().finally(() => (isOver = true));
    await watching;
    return peak;
  };
  // Memory that a transfer of any length takes at full speed is no growth: loaded code, arenas of
  // the allocator, messages that wait for the garbage collector. A faster machine has more of it.
  const first = await peakDuring(async () => {
    await timed(page, "download", bytes / 4, 0);
    await timed(page, "upload", bytes / 4, false);
  });
  let down, up;
  const then = await peakDuring(async () => {
    down = await timed(page, "download", bytes, 0);
    await timed(page, "download", bytes / 4, 3000);
    up = await timed(page, "upload", bytes, false);
  });
  const growth = Object.fromEntries(
    Object.keys(then).map((name) => [name, Math.max(0, then[name] - first[name])]),
  );
  print({
    event: "bulk",
    down_mib_per_s: rate(down, bytes),
    up_mib_per_s: rate(up, bytes),
    growth,
  });
}

async function churn(count) {
  for (let n = 0; n < count; n += 1) {
    await connect(page, values.addr, false);
    await timed(page, "echo", 256 * 1024);
    await page.evaluate(() => window.peer.free());
  }
  print({ event: "churned" });
}

async function cut() {
  await connect(page, values.addr, false);
  let connects = 1;
  for (const [name, isSlow] of [["download", 0], ["upload", false]]) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await timed(page, name, 48 * MIB, isSlow);
        break;
      } catch (error) {
        console.error(`${name} ${attempt}: ${error}`);
        // Changed bytes are no fault of the network.
        if (attempt === ATTEMPTS_MAX || /changed after/.test(error)) throw error;
        // Connecting also fails during the cut.
        await connect(page, values.addr, false).then(
          () => (connects += 1),
          () => {},
        );
      }
    }
  }
  print({ event: "survived", connects });
}

if (values.mib !== undefined) await bulk(Number(values.mib) * MIB);
if (values.connects !== undefined) await churn(Number(values.connects));
if (values.cut) await cut();
if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page`);
await close();
