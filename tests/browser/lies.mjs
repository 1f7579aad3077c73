/**
 * A tab between a lying relay and an honest one: the lie must be named on the page, and the page must go on.
 *
 * Usage: node lies.mjs --chromium PATH --url URL --liar NODE_ID [--wait-model]
 * Prints `caught` with what was lied about, then `went-on` with two heights; with --wait-model `verified`.
 */
import { parseArgs } from "node:util";
import { attribute, launch, open, say, watch } from "./chromium.mjs";

const LIE_TIMEOUT_MS = 60_000;
const RECORD_WAIT_MS = 2_000;
const VISITS_MAX = 20;

const { values } = parseArgs({
  options: {
    chromium: { type: "string" },
    url: { type: "string" },
    liar: { type: "string" },
    "wait-model": { type: "boolean", default: false },
  },
});
const { browser, close } = await launch(values.chromium);
const { page, errors } = await open(browser, values.url);
await watch(page);

const lie = page.locator('[data-testid="log"] li[data-kind="log.lie"]').first();
const model = page.locator('[data-testid="model-cid"][data-cid]');
// The tab chooses whom it asks, and an object is asked for once: where the honest relay was asked for all of them, the
// next visit gives the liar its turn.
for (let visit = 1; ; visit += 1) {
  await lie.or(model).first().waitFor({ state: "attached", timeout: LIE_TIMEOUT_MS });
  // The training record comes after the model.
  if ((await lie.count()) > 0 || (await appears(lie, RECORD_WAIT_MS))) break;
  if (visit === VISITS_MAX) throw new Error(`the liar was not asked in ${visit} visits`);
  await page.reload();
  await watch(page);
}
const told = `${await lie.getAttribute("title")} ${await lie.innerText()}`;
say({ event: "caught", told, named: told.includes(values.liar.slice(0, 8)) });

const before = Number(await attribute(page, "head-height", "data-height"));
await page.waitForFunction(
  (height) => Number(document.querySelector('[data-testid="head-height"]')?.dataset.height) > height,
  before,
  { timeout: LIE_TIMEOUT_MS },
);
const after = Number(await attribute(page, "head-height", "data-height"));
say({ event: "went-on", before, after });

if (values["wait-model"]) {
  const cid = await attribute(page, "model-cid", "data-cid", { timeout: LIE_TIMEOUT_MS });
  say({ event: "verified", model_cid: cid });
}
async function appears(locator, timeout) {
  return locator.waitFor({ state: "attached", timeout }).then(
    () => true,
    () => false,
  );
}

if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page`);
await close();
