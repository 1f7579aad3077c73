/**
 * A tab of a network that loses its quorum and regains it.
 *
 * Usage: node reduced.mjs --chromium PATH --url URL
 * Prints `normal` once a head is verified, `reduced` when the page reports that no block becomes
 * final, and `normal again` when that notice disappears, the last two with the current height.
 */
import { parseArgs } from "node:util";
import { attribute, launch, open, part, print, watch } from "./chromium.mjs";

/** Time for a few of the longest block intervals, and for reconnecting to relays and nodes. */
const WAIT_MS = 240_000;

const { values } = parseArgs({
  options: { chromium: { type: "string" }, url: { type: "string" } },
});
const { browser, close } = await launch(values.chromium);
const { page, errors } = await open(browser, values.url);
await watch(page);
const height = async () => Number(await attribute(page, "head-height", "data-height"));
await height();
print({ event: "normal" });
const notice = part(page, "stale");
await notice.waitFor({ state: "visible", timeout: WAIT_MS });
print({ event: "reduced", notice: await notice.textContent(), height: await height() });
await notice.waitFor({ state: "hidden", timeout: WAIT_MS });
print({ event: "normal again", height: await height() });
if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page`);
await close();
