/**
 * A reloaded tab resumes with the same identity, and with a head that is not below the last one.
 * Then the page runs without WebRTC, and shows that it uses WebSocket.
 *
 * Usage: node resume.mjs --chromium PATH --url URL
 * Prints `resumed` with both identities and heights, `fallback` with the path.
 */
import { parseArgs } from "node:util";
import { attribute, launch, open, print, watch } from "./chromium.mjs";

const { values } = parseArgs({
  options: { chromium: { type: "string" }, url: { type: "string" } },
});
const { browser, close } = await launch(values.chromium);

const { page, context, errors } = await open(browser, values.url);
const visit = async () => {
  await watch(page);
  const height = Number(await attribute(page, "head-height", "data-height"));
  return {
    height,
    node: await attribute(page, "node", "title"),
    transport: await attribute(page, "path", "data-transport"),
  };
};
const before = await visit();
await page.reload();
const after = await visit();
print({ event: "resumed", before, after });
await context.close();

const plain = await browser.newContext({
  locale: "es-MX",
  colorScheme: "dark",
  viewport: { width: 360, height: 740 },
});
const phone = await plain.newPage();
phone.on("pageerror", (error) => errors.push(error));
await phone.addInitScript(() => {
  delete globalThis.RTCPeerConnection;
});
await phone.goto(values.url);
await watch(phone);
await attribute(phone, "head-height", "data-height");
const transport = await attribute(phone, "path", "data-transport");
const overflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
const language = await phone.evaluate(() => document.documentElement.lang);
print({ event: "fallback", transport, overflow, language });
if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) on the page`);
await close();
