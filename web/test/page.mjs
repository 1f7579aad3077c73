/**
 * Looks at the page in Chromium with the story's invented data: no horizontal
 * scroll at phone width, contrast of at least 4.5 to 1, English and Spanish,
 * light and dark, drawing by pointer and by keyboard. Exits non-zero on a failure.
 * With --shots FOLDER it also writes screenshots there.
 */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createServer } from "vite";
import { launch } from "./chromium.mjs";

const CONTRAST_MIN = 4.5;
const SCENES = [["away", "es-MX"], ["running", "en-US"], ["final", "es-MX"]];
/** Seldom seen, so looked at once, where it is narrowest. */
const RARE_SCENES = [["failed", "en-US"], ["other", "es-MX"], ["nolink", "en-US"], ["phone", "es-MX"]];
const { values } = parseArgs({ options: { shots: { type: "string" } } });
if (values.shots) mkdirSync(values.shots, { recursive: true });

const root = fileURLToPath(new URL("../page", import.meta.url));
const server = await createServer({ root, configFile: `${root}/vite.config.ts`, logLevel: "warn", server: { port: 0, host: "127.0.0.1" } });
await server.listen();
const base = `http://127.0.0.1:${server.httpServer.address().port}/story/`;
const browser = await launch();
const testId = (page, id) => page.locator(`[data-testid=${id}]`);

async function open(scene, { width = 1200, scheme = "light", locale = "en-US" } = {}) {
  const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme: scheme, locale, reducedMotion: "reduce" });
  page.on("pageerror", (error) => assert.fail(`${scene}: ${error.message}`));
  await page.goto(`${base}?scene=${scene}`);
  await testId(page, "head-height").waitFor();
  if (scene === "running" || scene === "final") await page.locator(".plot canvas").waitFor();
  return page;
}

/** Runs in the page: visible texts whose contrast to their ground is too low, and how far the page overflows. */
function audit(contrastMin) {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const linear = (value) => (value / 255 <= 0.03928 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const pale = [];
  for (const element of document.querySelectorAll("body *")) {
    const ownText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== "");
    if (!ownText || element.getClientRects().length === 0) continue;
    const [one, other] = [luminance(numbers(getComputedStyle(element).color)), luminance(ground(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < contrastMin) pale.push(`${element.textContent.slice(0, 40)} (${ratio.toFixed(2)})`);
  }
  return { pale, overflow: document.documentElement.scrollWidth - innerWidth };
}

try {
  let views = 0;
  for (const scheme of ["light", "dark"]) {
    for (const width of [360, 1200]) {
      for (const [scene, locale] of width === 360 && scheme === "light" ? [...SCENES, ...RARE_SCENES] : SCENES) {
        views += 1;
        const page = await open(scene, { width, scheme, locale });
        assert.deepEqual(await page.evaluate(audit, CONTRAST_MIN), { pale: [], overflow: 0 }, `${scene} ${scheme} ${width}`);
        assert.equal(await page.locator("html").getAttribute("lang"), locale.slice(0, 2));
        if (values.shots) await page.screenshot({ path: `${values.shots}/${scene}-${width}-${scheme}-${locale.slice(0, 2)}.png`, fullPage: true });
        await page.close();
      }
    }
  }
  console.log(`page: contrast, width and language hold in ${views} views`);

  {
    const page = await open("final");
    const before = await testId(page, "prediction").textContent();
    const board = testId(page, "canvas");
    await board.focus();
    for (const key of ["Space", "ArrowDown", "Space", "Shift+ArrowDown", "Shift+ArrowDown", "Shift+ArrowRight"]) await page.keyboard.press(key);
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
    console.log("page: a digit can be drawn by keyboard and by pointer, and cleared");
  }
  {
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
    console.log("page: language and colours turn, and are kept for the next visit");
  }
  {
    const page = await open("other");
    await testId(page, "values").fill("1, 2, three, 4");
    await testId(page, "ask").click();
    await page.locator("#values[aria-invalid]").waitFor();
    await testId(page, "values").fill("5.1 3.5; 1.4, 0.2");
    await testId(page, "ask").click();
    await page.locator("[data-testid=prediction][data-label]").waitFor();
    await page.close();
    console.log("page: a model of another shape takes typed numbers");
  }
} finally {
  await browser.close();
  await server.close();
}
