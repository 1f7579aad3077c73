/**
 * Measures the cost of one tab of a running network: bytes a minute, and the load of its thread.
 * The figures of `page/src/measurements.ts` come from this script.
 *
 * Usage: node test/traffic.mjs --url URL [--minutes 5] [--workers 1] [--watch] [--cpu 4]
 * With --watch the tab does not compute. --cpu slows the processor down by that factor.
 * Prints one JSON object.
 */
import { parseArgs } from "node:util";
import { launch } from "./chromium.mjs";

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    minutes: { type: "string", default: "5" },
    workers: { type: "string", default: "1" },
    watch: { type: "boolean", default: false },
    cpu: { type: "string", default: "1" },
  },
});
const minutes = Number(values.minutes);
const browser = await launch();
const page = await browser.newPage();
// The default limits may be too low for a long measurement.
await page.addInitScript((workers) => {
  const preferences = { workers, dataCapPerDay: 100e9, pauseOnMetered: false };
  localStorage.setItem("tequio-preferences", JSON.stringify(preferences));
  globalThis.longTasks = [];
  const observer = new PerformanceObserver((list) => {
    globalThis.longTasks.push(...list.getEntries().map(({ duration }) => duration));
  });
  observer.observe({ entryTypes: ["longtask"] });
}, Number(values.workers));
const client = await page.context().newCDPSession(page);
await client.send("Performance.enable");
if (values.cpu !== "1") {
  await client.send("Emulation.setCPUThrottlingRate", { rate: Number(values.cpu) });
}
await page.goto(values.url);
await page.locator(".join[data-phase=connected]").waitFor();
if (!values.watch) {
  await page.getByTestId("join").click();
  await page.locator(".join[data-activity=computing]").waitFor({ timeout: 120_000 });
}

const sample = async () => {
  const { metrics } = await client.send("Performance.getMetrics");
  const metric = (name) => metrics.find((metric) => metric.name === name).value;
  const used = page.getByTestId("data-used");
  return {
    task: metric("TaskDuration"),
    script: metric("ScriptDuration"),
    received: Number(await used.getAttribute("data-received")),
    sent: Number(await used.getAttribute("data-sent")),
    computed: Number(await page.getByTestId("my-work").getAttribute("data-computed")),
    longTasks: await page.evaluate(() => globalThis.longTasks.length),
  };
};
const before = await sample();
await new Promise((resolve) => setTimeout(resolve, minutes * 60_000));
const after = await sample();
const each = (name) => Math.round((after[name] - before[name]) / minutes);
const busy = (name) => Number(((after[name] - before[name]) / (minutes * 60)).toFixed(3));
const longest = await page.evaluate((from) => {
  return Math.max(0, ...globalThis.longTasks.slice(from));
}, before.longTasks);
console.log(
  JSON.stringify({
    minutes,
    watch: values.watch,
    receivedPerMinute: each("received"),
    sentPerMinute: each("sent"),
    unitsPerMinute: each("computed"),
    threadBusy: busy("task"),
    scriptBusy: busy("script"),
    longTasks: after.longTasks - before.longTasks,
    longestTaskMs: longest,
  }),
);
await browser.close();
