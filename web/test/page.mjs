/**
 * Tests the page in Chromium with the story's invented data, in every scene: no axe violation, no
 * horizontal scroll at 320 px, English and Spanish, light and dark; the keyboard's focus, quiet
 * live regions, drawing, forms, and formats. Exits non-zero on a failure. With --shots FOLDER it
 * also writes screenshots there. --scene and --check, which may occur several times, select scenes
 * and checks.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createRequire } from "node:module";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createServer } from "vite";
import { launch } from "./chromium.mjs";

const SCENES = [
  "away", "nolink", "phone", "connecting", "failed", "looking", "idle", "waiting", "running",
  "paused", "outage", "unreachable", "stopped", "notices", "one", "cancelled", "unreadable",
  "final", "large", "other", "row",
];
const WIDTHS = [320, 768, 1280];
/** Both colour schemes and both languages in every scene; --all-looks adds the other pairs. */
const LOOKS = [["light", "en"], ["dark", "es"]];
const { values } = parseArgs({
  options: {
    shots: { type: "string" },
    scene: { type: "string", multiple: true },
    check: { type: "string", multiple: true },
    "all-looks": { type: "boolean", default: false },
  },
});
if (values["all-looks"]) LOOKS.push(["light", "es"], ["dark", "en"]);
if (values.shots) mkdirSync(values.shots, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const root = fileURLToPath(new URL("../page", import.meta.url));
const server = await createServer({
  root,
  configFile: `${root}/vite.config.ts`,
  logLevel: "warn",
  server: { port: 0, host: "127.0.0.1", hmr: false, watch: null },
});
await server.listen();
const base = `http://127.0.0.1:${server.httpServer.address().port}/story/`;
const browser = await launch();
const testId = (page, id) => page.locator(`[data-testid=${id}]`);

async function open(scene, { width = 1280, scheme = "light", locale = "en-US" } = {}) {
  const page = await browser.newPage({
    viewport: { width, height: 800 },
    colorScheme: scheme,
    locale,
    timezoneId: "America/Mexico_City",
    reducedMotion: "reduce",
  });
  page.on("pageerror", (error) => assert.fail(`${scene}: ${error.message}`));
  await page.goto(`${base}?scene=${scene}`);
  await testId(page, "head-height").waitFor();
  return page;
}

/** The violations that axe finds, one line each. */
async function violations(page) {
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id} ${target.join(" ")} ${failureSummary}`),
    );
  });
  return found;
}

/** The elements whose content is wider than they are, so that a part of it is cut. */
function cutParts(page) {
  // Ornaments are cut on purpose, and the plot is drawn again some time after the width changes.
  const parts = "#app *:not(.visually-hidden, .band, .plot, select)";
  return page.evaluate((parts) =>
    [...document.querySelectorAll(parts)].flatMap((part) => {
      const { overflowX } = getComputedStyle(part);
      const cut = part.scrollWidth - part.clientWidth;
      const name = part.className || part.tagName;
      return overflowX !== "visible" && cut > 0 ? [`.${name} cuts ${cut} px`] : [];
    }),
    parts,
  );
}

async function inLanguage(page, language) {
  const now = await page.locator("html").getAttribute("lang");
  if (now !== language) await testId(page, "language").click();
  await page.locator(`html[lang=${language}]`).waitFor();
}

async function shoot(page, name) {
  if (values.shots) await page.screenshot({ path: `${values.shots}/${name}.png`, fullPage: true });
}

/** Every scene, in both languages and colours, and at three widths. */
async function everyScene() {
  const problems = [];
  let views = 0;
  for (const scene of values.scene ?? SCENES) {
    const page = await open(scene, { width: 320 });
    await page.addScriptTag({ content: axe });
    for (const [scheme, language] of LOOKS) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      await inLanguage(page, language);
      const name = `${scene} ${scheme} ${language}`;
      for (const problem of await violations(page)) problems.push(`${name}: ${problem}`);
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 800 });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) problems.push(`${name}: ${wide} px wider than ${width} px`);
        for (const part of await cutParts(page)) problems.push(`${name}, ${width} px: ${part}`);
        views += 1;
        await shoot(page, `${scene}-${width}-${scheme}-${language}`);
      }
      await page.setViewportSize({ width: 320, height: 800 });
    }
    await page.close();
  }
  assert.deepEqual(problems, []);
  console.log(`page: axe, width, language and colours hold in ${views} views`);
}

async function drawing() {
  const page = await open("final");
  const before = await testId(page, "prediction").textContent();
  const board = testId(page, "canvas");
  await board.focus();
  const keys = ["Space", "ArrowDown", "Space", "Shift+ArrowDown", "Shift+ArrowDown"];
  for (const key of [...keys, "Shift+ArrowRight"]) await page.keyboard.press(key);
  await page.locator("[data-testid=prediction][data-label]").waitFor();
  assert.notEqual(await testId(page, "prediction").textContent(), before);
  assert.equal(await page.locator("[data-testid=confidences] li[data-best]").count(), 1);
  assert.match(await board.getAttribute("aria-label"), /Column 10, row 12/);
  await page.keyboard.press("Delete");
  await page.locator("[data-testid=prediction]:not([data-label])").waitFor();

  const { x, y, width } = await board.boundingBox();
  await page.mouse.move(x + 0.3 * width, y + 0.2 * width);
  await page.mouse.down();
  await page.mouse.move(x + 0.7 * width, y + 0.8 * width, { steps: 8 });
  await page.mouse.up();
  await page.locator("[data-testid=prediction][data-label]").waitFor();
  await testId(page, "clear").click();
  await page.locator("[data-testid=prediction]:not([data-label])").waitFor();
  await page.close();

  // The person's files: the proof of the contribution, the model, its record.
  const own = await open("final");
  assert.match(await testId(own, "my-share").textContent(), /^You did 27% of the operations/);
  const files = { proof: ".contribution", model: ".draw", record: ".draw" };
  for (const [file, part] of Object.entries(files)) {
    await testId(own, `save-${file}`).click();
    const saved = own.locator(`${part} [data-testid=saved]`, { hasText: "is saved" });
    await saved.waitFor();
  }
  await own.close();

  // Without a model the board shows that, and the drawing stays.
  const early = await open("running");
  assert.match(await testId(early, "model-state").textContent(), /no model yet.*round 23 of 40/);
  assert.equal(await testId(early, "prediction").textContent(), "No model yet");
  await early.close();
  console.log("page: a digit can be drawn by keyboard and by pointer, and cleared");
}

async function languageAndColours() {
  const page = await open("running");
  assert.ok(Number(await testId(page, "curve").getAttribute("data-accuracy")) > 0.9);
  await testId(page, "language").click();
  await page.locator("html[lang=es]").waitFor();
  assert.match(await testId(page, "log").textContent(), /envió algo falso \(prueba\)/);
  await testId(page, "theme").click();
  await testId(page, "theme").click();
  await page.locator("html[data-theme=dark]").waitFor();
  await page.reload();
  await page.locator("html[lang=es][data-theme=dark]").waitFor();
  await page.close();

  // Browsers format "es" alone as in Spain; this page formats as in Mexico.
  for (const locale of ["es-MX", "es"]) {
    const mexico = await open("final", { locale });
    assert.match(await testId(mexico, "accuracy").textContent(), /^\d\d\.\d\s?%$/, locale);
    assert.equal(await testId(mexico, "head-height").textContent(), "1,284", locale);
    await mexico.close();
  }
  console.log("page: language and colours change and are kept; numbers are formatted as in Mexico");
}

async function forms() {
  const page = await open("other", { locale: "es-MX" });
  const columns = testId(page, "column");
  assert.equal(await columns.count(), 4);
  assert.match(await page.locator(".columns").textContent(), /petal width.*de -0\.32 a 2\.72/);
  for (const [index, value] of ["5.1", "3,5", "", "0.2"].entries()) {
    await columns.nth(index).fill(value);
  }
  await testId(page, "ask").click();
  await page.locator("#column-2[aria-invalid]:focus").waitFor();
  await columns.nth(2).fill("1.4");
  await page.keyboard.press("Enter");
  await page.locator("[data-testid=prediction][data-label]").waitFor();
  await page.close();

  const row = await open("row");
  await testId(row, "values").fill("1, 2, three, 4");
  await testId(row, "ask").click();
  await row.locator("#values[aria-invalid]").waitFor();
  await testId(row, "values").fill("5.1 3.5; 1.4, 0.2");
  await testId(row, "ask").click();
  await row.locator("[data-testid=prediction][data-label]").waitFor();
  await row.close();
  console.log("page: a model of another shape takes numbers by column, or as a row");
}

/** After each action the focus is on a visible element of the same part. */
async function focus() {
  const page = await open("away");
  const active = () =>
    page.evaluate(() => {
      const element = document.activeElement;
      return {
        id: element.dataset.testid ?? element.dataset.part,
        seen: element.checkVisibility(),
      };
    });
  const press = async (id, phase) => {
    await testId(page, id).focus();
    await page.keyboard.press("Enter");
    await page.locator(`.join${phase}`).waitFor();
    const { id: now, seen } = await active();
    assert.ok(seen && now !== undefined, `after ${id} the focus is lost`);
    return now;
  };
  assert.equal(await press("watch", "[data-activity=off]"), "join");
  assert.equal(await press("join", "[data-activity=computing]"), "stop");
  assert.equal(await press("stop", "[data-contribution=stopped]"), "compute");
  assert.equal(await press("leave", "[data-phase=away]"), "join");
  await page.close();
  console.log("page: the focus stays in its part after each action");
}

/** The state line and the tab's title show the node's activity, and the start of an outage. */
async function stateLine() {
  const expectLine = async (scene, status, title) => {
    const page = await open(scene);
    await page.waitForFunction((title) => new RegExp(title).test(document.title), title.source);
    assert.match(await testId(page, "contribution").textContent(), status, scene);
    await page.close();
  };
  await expectLine("looking", /computes nothing/, /^Looking · Tequio$/);
  await expectLine("waiting", /^Waiting for work: no further part/, /^Waiting for work · Tequio$/);
  await expectLine("running", /^Computing digits$/, /^digits: 42 units\/min · Tequio$/);
  await expectLine("paused", /^Paused because today's data limit/, /^Paused · Tequio$/);
  await expectLine("outage", /^Not connected since \d.*Trying again/, /^Not connected · Tequio$/);
  const dead = /^Not connected since.*server of this page do not answer.*starts by itself/;
  await expectLine("unreachable", dead, /^Not connected · Tequio$/);
  const page = await open("running");
  assert.match(await testId(page, "data-today").textContent(), /406 MB of 2 GB.*reached in/);
  await testId(page, "data-cap").selectOption("500000000");
  await page.locator(".join[data-cap='500000000']").waitFor();
  await page.close();
  console.log("page: the state line and the title show the node's activity");
}

/** An outage makes few lines, none of them red; the list is no live region. */
async function quietLog() {
  const page = await open("outage");
  const log = testId(page, "log");
  const lines = await log.locator("li").count();
  assert.ok(lines <= 12, `${lines} lines after an outage`);
  const red = await log.locator("li[data-tone=bad]").evaluateAll((all) =>
    all.map((line) => line.dataset.kind),
  );
  assert.deepEqual(red.sort(), ["log.invalidData"]);
  const late = log.locator("li[data-kind='log.late']");
  assert.deepEqual([await late.count(), await late.getAttribute("data-count")], [1, "4"]);
  assert.equal(await page.locator("[role=log], [aria-live]").count(), 0);
  await page.close();
  console.log(`page: an outage of 210 s makes ${lines} lines, and no late result is red`);
}

/** A curve of one round is a point, and has a text alternative. */
async function oneRound() {
  const page = await open("one");
  await page.locator(".plot canvas").waitFor();
  const red = await page.waitForFunction(() => {
    const canvas = document.querySelector(".plot canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) {
      const [r, g, b, opacity] = data.slice(at, at + 4);
      if (opacity > 200 && r > 130 && g < 60 && b < 90) count += 1;
    }
    return count;
  });
  assert.ok((await red.jsonValue()) > 20, "the point of the first round is not drawn");
  assert.match(await testId(page, "curve").textContent(), /in round 1 of 40/);
  await page.close();
  console.log("page: a curve of one round is drawn");
}

/** An error shows cause and remedy in the page's language, and the package's text. */
async function errors() {
  const page = await open("failed", { locale: "es-MX" });
  assert.match(await page.locator("[role=alert]").textContent(), /Ningún relé respondió.*intenta/);
  const details = testId(page, "error-message");
  assert.equal(await details.getAttribute("lang"), "en");
  assert.match(await details.textContent(), /no relay could be reached/);
  await page.close();
  console.log("page: errors are in the page's language, with what to do");
}

/** Serves the built package on `port`, and empty pages; the policy of `/blocked` has no workers. */
async function servePackage(port) {
  const folder = fileURLToPath(new URL("../package", import.meta.url));
  const types = { ".js": "text/javascript", ".wasm": "application/wasm" };
  const http = createHttpServer(({ url }, response) => {
    const type = /^\/(dist|wasm)\//.test(url) ? types[extname(url)] : undefined;
    response.setHeader("content-type", type ?? "text/html");
    response.setHeader("cache-control", "no-store");
    if (url === "/blocked") response.setHeader("content-security-policy", "worker-src 'none'");
    response.end(type === undefined ? "<!doctype html>" : readFileSync(folder + url));
  });
  await new Promise((resolve) => http.listen(port, "127.0.0.1", resolve));
  const close = async () => {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  };
  return { port: http.address().port, close };
}

/**
 * A page with a contribution of one worker, from the package's own parts. `contribute` starts it,
 * `ask` asks the server again, `states` has its states, `started` the worker's first message.
 */
async function contributingPage(port, path) {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${port}${path}`);
  await page.evaluate(async () => {
    const [loader, { WorkerPool }, { Contribution }] = await Promise.all(
      ["wasm-loader", "pool", "contribution"].map((name) => import(`/dist/${name}.js`)),
    );
    const states = [];
    let contribution, worker;
    const poolHost = {
      spawn: () => (worker = loader.spawnWorker()),
      lost: (message, replaced) => replaced || contribution.startFailed(new Error(message)),
      done: () => {},
      failed: () => {},
    };
    const pool = new WorkerPool(poolHost, await loader.compile());
    const watch = () => () => {};
    const host = {
      device: { watchHidden: watch, watchBattery: watch, watchMetered: watch },
      dataToday: () => 0,
      apply: (workers) => pool.resize(workers),
      changed: (state, _, reason) => states.push(reason ?? state),
      codeAnswers: () => loader.codeAnswers(),
      monotonicMs: () => performance.now(),
    };
    const contribute = () => void (contribution = new Contribution(host, { workers: 1 }));
    const ask = () => contribution.askCodeHost(true);
    const started = () =>
      new Promise((resolve) => worker.addEventListener("message", ({ data }) => resolve(data)));
    Object.assign(globalThis, { states, contribute, ask, started });
  });
  return page;
}

/**
 * A browser reports a worker whose script's server is dead like a blocked one. The package tells
 * the two apart, and starts the workers when the server answers again.
 */
async function deadServer() {
  let http = await servePackage(0);
  const { port } = http;
  const states = (page) => page.evaluate(() => globalThis.states);
  const blocked = await contributingPage(port, "/blocked");
  await blocked.evaluate(() => globalThis.contribute());
  await blocked.waitForFunction(() => globalThis.states.length === 2);
  assert.deepEqual(await states(blocked), ["running", "stopped"]);
  await blocked.close();

  const page = await contributingPage(port, "/");
  await http.close();
  await page.evaluate(() => globalThis.contribute());
  await page.waitForFunction(() => globalThis.states.length === 2);
  await page.evaluate(() => globalThis.ask());
  assert.deepEqual(await states(page), ["running", "codeUnreachable"]);
  http = await servePackage(port);
  const message = await page.evaluate(() => globalThis.ask().then(() => globalThis.started()));
  assert.deepEqual(message, { type: "ready" });
  assert.deepEqual(await states(page), ["running", "codeUnreachable", "running"]);
  await page.close();
  await http.close();
  console.log("page: a dead server and blocked workers differ, and its return starts them");
}

/** With a busy node there are few drawings a second, few announcements and no long task. */
async function busy() {
  const page = await open("running");
  const client = await page.context().newCDPSession(page);
  await client.send("Performance.enable");
  const task = async () => {
    const { metrics } = await client.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "TaskDuration").value;
  };
  const seconds = 3;
  const before = await task();
  const { drawn, announced, longest } = await page.evaluate(async (seconds) => {
    const counts = { drawn: 0, announced: 0, longest: 0 };
    const watch = (selector, name) => {
      for (const element of document.querySelectorAll(selector)) {
        const observer = new MutationObserver(() => (counts[name] += 1));
        observer.observe(element, { childList: true, characterData: true, subtree: true });
      }
    };
    watch("[data-testid=my-work]", "drawn");
    watch("[role=status], [role=alert]", "announced");
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) {
        counts.longest = Math.max(counts.longest, duration);
      }
    }).observe({ entryTypes: ["longtask"] });
    await globalThis.flood(200, seconds);
    return counts;
  }, seconds);
  const share = ((await task()) - before) / seconds;
  assert.ok(drawn > 0 && drawn <= seconds * 5 + 1, `${drawn} drawings in ${seconds} s`);
  assert.ok(announced <= 2, `live regions changed ${announced} times in ${seconds} s`);
  await page.close();
  const figures = `${(share * 100).toFixed(0)} % of the thread, longest task ${longest} ms`;
  console.log(`page: 200 units a second draw ${drawn} times in ${seconds} s: ${figures}`);
}

const CHECKS = {
  everyScene,
  drawing,
  languageAndColours,
  forms,
  focus,
  stateLine,
  quietLog,
  oneRound,
  errors,
  deadServer,
  busy,
};

try {
  for (const [name, check] of Object.entries(CHECKS)) {
    if (values.check === undefined || values.check.includes(name)) await check();
  }
} finally {
  await browser.close();
  await server.close();
}
