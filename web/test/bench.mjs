/**
 * Builds the bench, runs it in Chromium and prints its JSON as the last line. Exits non-zero if a
 * measurement fails. Arguments: --n 512 --ms 2000 --no-build
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, preview } from "vite";
import { launch } from "./chromium.mjs";

const { values } = parseArgs({
  options: {
    n: { type: "string", default: "512" },
    ms: { type: "string", default: "2000" },
    build: { type: "boolean", default: true },
  },
  allowNegative: true,
});
const root = fileURLToPath(new URL("../page", import.meta.url));
const configFile = `${root}/vite.bench.config.ts`;
const common = { root, configFile, logLevel: "warn" };

if (values.build) await build(common);
const server = await preview({ ...common, preview: { port: 0, host: "127.0.0.1" } });
const browser = await launch();
try {
  const page = await browser.newPage();
  await page.goto(
    `http://127.0.0.1:${server.httpServer.address().port}/bench.html?n=${values.n}&ms=${values.ms}`,
  );
  const result = page.locator("[data-testid=bench][data-done]");
  await result.waitFor({ timeout: 60_000 + 5 * Number(values.ms) });
  const text = await result.textContent();
  if ((await result.getAttribute("data-done")) !== "ok") throw new Error(text);
  console.log(text);
} finally {
  await browser.close();
  await server.close();
}
