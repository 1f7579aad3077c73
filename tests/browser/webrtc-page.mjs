/** A tab with the module of `tests/webrtc-page`, which connects to a `tequio-webrtc-peer`. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join, normalize } from "node:path";
import { launch, open } from "./chromium.mjs";

const TYPES = { js: "text/javascript", wasm: "application/wasm", html: "text/html" };
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
  import init, * as webrtc from "./tequio_webrtc_page.js";
  window.wasm = await init({ module_or_path: "./tequio_webrtc_page_bg.wasm" });
  window.webrtc = webrtc;
</script>`;

/** Launches a browser and serves the module's folder; `tab()` opens a page with the module. */
export async function start(chromium, folder, flags) {
  const server = createServer(async (request, response) => {
    const name = normalize(request.url === "/" ? "/index.html" : request.url);
    const body =
      name === "/index.html" ? PAGE : await readFile(join(folder, name)).catch(() => null);
    response.writeHead(body === null ? 404 : 200, {
      "content-type": TYPES[name.split(".").pop()] ?? "text/plain",
    });
    response.end(body);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { browser, close } = await launch(chromium, flags);
  return {
    browser,
    async tab() {
      const opened = await open(browser, `http://127.0.0.1:${server.address().port}/`);
      await opened.page.waitForFunction(() => window.webrtc !== undefined);
      return opened;
    },
    async close() {
      await close();
      server.close();
    },
  };
}

/** Connects the page to a peer and returns the duration in milliseconds. */
export function connect(page, addr, v1) {
  return page.evaluate(
    async ([addr, v1]) => {
      const began = performance.now();
      window.peer = await window.webrtc.connect(addr, v1);
      return performance.now() - began;
    },
    [addr, v1],
  );
}

/** Calls a function of the page's peer and returns the duration in milliseconds. */
export function timed(page, name, ...rest) {
  return timedOf("peer", page, name, ...rest);
}

/** Calls a function of another peer of the page and returns the duration in milliseconds. */
export function timedOf(peer, page, name, ...rest) {
  return page.evaluate(
    async ([peer, name, rest]) => {
      const began = performance.now();
      await window[peer][name](...rest);
      return performance.now() - began;
    },
    [peer, name, rest],
  );
}

export const MIB = 1 << 20;

/** Mebibytes a second. */
export function rate(ms, bytes) {
  return Math.round((bytes / MIB / (ms / 1000)) * 10) / 10;
}
