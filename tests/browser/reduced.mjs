/**
 * A tab of a network that loses its quorum, and finds it again.
 *
 * Usage: node reduced.mjs --chromium PATH --url URL
 * Prints `normal` once a head is verified, `reduced` when the page says that no block becomes final, and `normal again`
 * when it has stopped saying so, the last two with the height that they were said at.
 */
import { parseArgs } from "node:util";
import { attribute, launch, open, part, say, watch } from "./chromium.mjs";

/** A few of the longest intervals between blocks, and what it takes to notice that relays and nodes are back. */
const WAIT_MS = 240_000;

const { values } = parseArgs({ options: { chromium: { type: "string" }, url: { type: "string" } } });
const { browser, close } = await launch(values.chromium);
const { page, errors } = await open(browser, values.url);
await watch(page);
const height = async () => Number(await attribute(page, "head-height", "data-height"));
await height();
say({ event: "normal" });
const notice = part(page, "stale");
await notice.waitFor({ state: "visible", timeout: WAIT_MS });
say({ event: "reduced", notice: await notice.textContent(), height: await height() });
await notice.waitFor({ state: "hidden", timeout: WAIT_MS });
say({ event: "normal again", height: await height() });
if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page`);
await close();
