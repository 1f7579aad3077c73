/** Starts Chromium for the tests, headless, and gives access to the page. */
import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A background tab must still compute in a test.
  "--disable-background-timer-throttling",
  "--disable-renderer-backgrounding",
];

/** Launches a browser. If it dies, the script exits with code 3. */
export async function launch(executablePath, extra = []) {
  const browser = await chromium.launch({ executablePath, args: [...ARGUMENTS, ...extra] });
  let expected = false;
  browser.on("disconnected", () => {
    if (expected) return;
    console.error("Chromium ended before its work was done");
    process.exit(3);
  });
  return {
    browser,
    async close() {
      expected = true;
      await browser.close();
    },
  };
}

/** Prints one event for the program that started this script. */
export function print(event) {
  console.log(JSON.stringify(event));
}

/** Opens a page and prints its errors to standard error; `errors` collects the uncaught ones. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ locale: "en-US", ...options });
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      console.error(`page: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => {
    errors.push(error);
    console.error(`page: uncaught ${error.stack ?? error}`);
  });
  page.on("crash", () => {
    console.error("the tab crashed");
    process.exit(4);
  });
  await page.goto(url);
  return { page, context, errors };
}

/** The page's element with a `data-testid`. */
export function part(page, id) {
  return page.getByTestId(id);
}

/** Waits until a part has an attribute (or its `value`), and returns the attribute. */
export async function attribute(page, id, name, { value = null, timeout = 60_000 } = {}) {
  const condition = value === null ? `[${name}]` : `[${name}="${value}"]`;
  const element = page.locator(`[data-testid="${id}"]${condition}`);
  await element.waitFor({ state: "attached", timeout });
  return element.getAttribute(name);
}

/** Waits until the page is connected, and clicks its button if it does not connect on its own. */
export async function watch(page) {
  await page.locator(".join[data-phase=connected]").or(part(page, "watch")).first().waitFor();
  const button = part(page, "watch");
  if (await button.isVisible()) await button.click();
}
