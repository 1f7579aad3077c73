/**
 * Two tabs with different identities compute for one job; the second is closed during a unit.
 *
 * Usage: node tabs.mjs --chromium PATH --url URL
 * Prints `joined` for each, `worked` for each once it has been credited, `closed` for the second,
 * and `verified` once the first has read the finished model.
 */
import { parseArgs } from "node:util";
import { attribute, launch, open, part, print } from "./chromium.mjs";

const JOB_TIMEOUT_MS = 10 * 60_000;

const { values } = parseArgs({
  options: { chromium: { type: "string" }, url: { type: "string" } },
});
const { browser, close } = await launch(values.chromium);

const tabs = [];
for (const name of ["first", "second"]) {
  const tab = await open(browser, values.url);
  await part(tab.page, "join").click();
  await attribute(tab.page, "head-height", "data-height");
  const node = await attribute(tab.page, "node", "title");
  print({ event: "joined", tab: name, node });
  tabs.push({ ...tab, name, node });
}

const credited = async ({ page, name, node }) => {
  await page.waitForFunction(
    () => Number(document.querySelector('[data-testid="my-units"]')?.dataset.units) > 0,
    undefined,
    { timeout: JOB_TIMEOUT_MS },
  );
  print({ event: "worked", tab: name, node });
};
await Promise.all(tabs.map(credited));

const [first, second] = tabs;
// The tab computes nearly all the time, so it closes during a unit.
await second.context.close();
print({ event: "closed", tab: second.name, node: second.node });

const cid = await attribute(first.page, "model-cid", "data-cid", { timeout: JOB_TIMEOUT_MS });
print({ event: "verified", model_cid: cid });
if (first.errors.length > 0) {
  throw new Error(`${first.errors.length} uncaught error(s) on the page`);
}
await close();
