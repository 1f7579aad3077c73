/**
 * The tab of the demo: joins like a person, computes while the job runs, and reads the model.
 *
 * Usage: node demo.mjs --url URL --chromium PATH [--after CID]
 * Prints `joined`, then `verified` (see xtask's demo), one JSON object a line; exits 0 only after
 * both. With `--after` the script ignores a model with this CID, which an earlier job produced.
 */
import { parseArgs } from "node:util";
import { attribute, launch, open, part, print } from "./chromium.mjs";

/** The job takes a minute or two; this time means that something hangs. */
const JOB_TIMEOUT_MS = 15 * 60_000;

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    chromium: { type: "string" },
    after: { type: "string", default: "" },
  },
});
const { browser, close } = await launch(values.chromium);
const { page, errors } = await open(browser, values.url);

await part(page, "join").click();
await attribute(page, "head-height", "data-height");
const node = await attribute(page, "node", "title");
const path = await describePath();
print({ event: "joined", node, path });

// The model appears once the job is final and this browser has verified it.
const fresh = page.locator(`[data-testid="model-cid"][data-cid]:not([data-cid="${values.after}"])`);
await fresh.waitFor({ state: "attached", timeout: JOB_TIMEOUT_MS });
const cid = await fresh.getAttribute("data-cid");
const accuracy = Number(await attribute(page, "curve", "data-accuracy"));
const label = await drawOne();
if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page`);
print({ event: "verified", model_cid: cid, accuracy, path: await describePath(), drawn: label });
await close();

/** The path to the network, for example "webrtc, direct". */
async function describePath() {
  const transport = await attribute(page, "path", "data-transport");
  return `${transport}, ${await attribute(page, "path", "data-path")}`;
}

/** Draws a vertical stroke and returns the model's label. */
async function drawOne() {
  await part(page, "canvas").scrollIntoViewIfNeeded();
  const box = await part(page, "canvas").boundingBox();
  const at = (x, y) => [box.x + box.width * x, box.y + box.height * y];
  await page.mouse.move(...at(0.52, 0.15));
  await page.mouse.down();
  await page.mouse.move(...at(0.5, 0.85), { steps: 12 });
  await page.mouse.up();
  return attribute(page, "prediction", "data-label");
}
