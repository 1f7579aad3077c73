/** Starts the system's Chromium for the tests of this folder, without background networking. */
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Launches the browser. */
export function launch() {
  const candidates = [
    process.env.TEQUIO_CHROMIUM,
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
  ];
  const executablePath = candidates.find((path) => path && existsSync(path));
  if (!executablePath) {
    throw new Error(
      "no Chromium found: install the package `chromium`, or set TEQUIO_CHROMIUM to its path",
    );
  }
  return chromium.launch({ executablePath, args: ARGUMENTS });
}
