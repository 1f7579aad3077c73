/**
 * A tab between a Byzantine relay and an honest one: the page must report the invalid data, and
 * must continue.
 *
 * Usage: node byzantine-relay.mjs --chromium PATH --url URL --byzantine NODE_ID [--wait-model]
 * Prints `caught` with the report of the invalid data, then `went-on` with two heights; with
 * --wait-model also `verified`.
 */
import { parseArgs } from "node:util";
import { attribute, launch, open, print, watch } from "./chromium.mjs";

const TIMEOUT_MS = 60_000;
const RECORD_WAIT_MS = 2_000;
const VISITS_MAX = 20;

const { values } = parseArgs({
  options: {
    chromium: { type: "string" },
    url: { type: "string" },
    byzantine: { type: "string" },
    "wait-model": { type: "boolean", default: false },
  },
});
const { browser, close } = await launch(values.chromium);
const { page, errors } = await open(browser, values.url);
await watch(page);

const invalid = page.locator('[data-testid="log"] li[data-kind="log.invalidData"]').first();
const model = page.locator('[data-testid="model-cid"][data-cid]');
// The tab selects the relay of each request, and requests an object once. If the honest relay
// served all of them, another visit gives the Byzantine relay a chance.
for (let visit = 1; ; visit += 1) {
  await invalid.or(model).first().waitFor({ state: "attached", timeout: TIMEOUT_MS });
  // The training record arrives after the model.
  if ((await invalid.count()) > 0 || (await appears(invalid, RECORD_WAIT_MS))) break;
  if (visit === VISITS_MAX) throw new Error(`no request to the Byzantine relay in ${visit} visits`);
  await page.reload();
  await watch(page);
}
const text = `${await invalid.getAttribute("title")} ${await invalid.innerText()}`;
print({ event: "caught", report: text, named: text.includes(values.byzantine.slice(0, 8)) });

const before = Number(await attribute(page, "head-height", "data-height"));
await page.waitForFunction(
  (before) => {
    const { height } = document.querySelector('[data-testid="head-height"]')?.dataset ?? {};
    return Number(height) > before;
  },
  before,
  { timeout: TIMEOUT_MS },
);
const after = Number(await attribute(page, "head-height", "data-height"));
print({ event: "went-on", before, after });

if (values["wait-model"]) {
  const cid = await attribute(page, "model-cid", "data-cid", { timeout: TIMEOUT_MS });
  print({ event: "verified", model_cid: cid });
}
async function appears(locator, timeout) {
  return locator.waitFor({ state: "attached", timeout }).then(
    () => true,
    () => false,
  );
}

if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page`);
await close();
