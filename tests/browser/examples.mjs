/**
 * Runs the npm package's examples against a network with a finished training: the README's first
 * one and the React component, built by Vite, in Chromium; and a node in Node.js that reads the
 * model and runs it.
 *
 * Usage: node examples.mjs --chromium PATH --url URL-OF-THE-PAGE
 * Prints `readme` and `react` with their results, then `node` with the model's label.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { launch, open, print } from "./chromium.mjs";
import { html, launchParamsOf, serve, web } from "./package-page.mjs";

const WAIT_MS = 60_000;
const { values } = parseArgs({
  options: { chromium: { type: "string" }, url: { type: "string" } },
});
const { origin, hash } = launchParamsOf(values.url);

const text = readFileSync(join(web, "package/README.md"), "utf8");
const readme = text.match(/```ts\n([\s\S]*?)```/)[1];
const placeholders = [/hash: "[^"]*"/, /"https:\/\/relay\.example"|"https:\/\/relay\.example\//];
if (!placeholders.every((placeholder) => placeholder.test(readme))) {
  throw new Error("the README's example has other placeholders");
}
const example = readme
  .replace(placeholders[0], `hash: "${hash}"`)
  .replace("https://relay.example/", "/");

const { base, close: closeServer } = await serve(
  {
    "readme.html": html("/readme.ts"),
    "readme.ts": `const joinButton = document.querySelector("button")!;\n${example}`,
    "react.html": html("/react.tsx"),
    "react.tsx": `import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Contribute } from ${JSON.stringify(join(web, "examples/contribute.tsx"))};
const options = {
  checkpoint: { url: "/checkpoint.bin", hash: "${hash}" },
  wellKnown: "/.well-known/tequio.json",
};
createRoot(document.querySelector("main")!).render(
  <StrictMode><Contribute options={options} /></StrictMode>
);`,
  },
  origin,
);
const { browser, close } = await launch(values.chromium);

{
  const context = await browser.newContext();
  const page = await context.newPage();
  const line = (pattern) =>
    page.waitForEvent("console", {
      predicate: (message) => pattern.test(message.text()),
      timeout: WAIT_MS,
    });
  const printed = Promise.all([line(/ predicts /), line(/^block \d+, final by \d+/)]);
  page.on("console", (message) => console.error(`readme: ${message.text()}`));
  await page.goto(`${base}/readme.html`);
  const [model, block] = await printed;
  const waiting = line(/^waiting$/);
  await page.locator("button").click();
  await waiting;
  print({ event: "readme", model: model.text(), block: block.text() });
  await context.close();
}
{
  const { page, context, errors } = await open(browser, `${base}/react.html`);
  const label = await page.locator("[data-label]").getAttribute("data-label", { timeout: WAIT_MS });
  await page.locator("main button").click();
  await page.locator('[data-state="waiting"]').waitFor({ timeout: WAIT_MS });
  await page.locator("main button").click();
  await page.locator('[data-state="off"]').waitFor({ timeout: WAIT_MS });
  if (errors.length > 0) throw new Error(`${errors.length} uncaught error(s) in React`);
  print({ event: "react", label });
  await context.close();
}
await close();
await closeServer();

// Node has a WebSocket from version 22 on; before that, a program provides one.
const tequio = await import(pathToFileURL(join(web, "package/dist/index.js")).href);
const wellKnown = `${origin}/.well-known/tequio.json`;
const options = { checkpoint: { url: `${origin}/checkpoint.bin`, hash }, wellKnown };
if (typeof WebSocket === "undefined") {
  const refused = await tequio.connect(options).catch((error) => error);
  if (refused.code !== "UNSUPPORTED") throw new Error(`without a WebSocket: ${refused}`);
  const { default: bundle } = await import("playwright-core/lib/utilsBundle");
  globalThis.WebSocket = bundle.ws;
}
const node = await tequio.connect(options);
if (node.status().storage !== "visit") throw new Error("Node keeps nothing");
const job = (await node.jobs()).find(({ kind, state }) => kind === "train" && state === "final");
const model = await node.model(job.name);
const { label } = model.predict(new Float64Array(model.features));
const files = await node.modelFiles(job.id);
const [best] = (await node.record(job.id)).contributors;
const proof = await node.contributionProof(job.id, best.id);
const checkpoint = new Uint8Array(await (await fetch(`${origin}/checkpoint.bin`)).arrayBuffer());
const proved = await tequio.verifyContributionProof(proof.bytes, checkpoint);
if (proved.units !== best.units || proved.id !== best.id) {
  throw new Error(`the proof says ${JSON.stringify(proved)}`);
}
const none = await node.contributionProof(job.id).catch((error) => error.code);
await node.close();
print({
  event: "node",
  label,
  model: files.model.length,
  record: files.record.length,
  units: proved.units,
  none,
});
process.exit(0);
