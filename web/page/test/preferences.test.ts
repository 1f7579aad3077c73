import assert from "node:assert/strict";
import test from "node:test";
import { parseOperator, readCapped } from "../src/operator.js";
import { defaultPreferences, parsePreferences } from "../src/preferences.js";

test("stored preferences of a wrong type or size fall back to the default", () => {
  const parse = (stored: unknown) => parsePreferences(JSON.stringify(stored), defaultPreferences);
  assert.deepEqual(parse(null), defaultPreferences);
  assert.deepEqual(
    parse({ workers: -1, dataCapPerDay: 7, pauseWhenHidden: "yes" }),
    defaultPreferences,
  );
  const kept = { workers: 2, dataCapPerDay: 5e9, pauseWhenHidden: true, pauseOnMetered: false };
  assert.deepEqual(parse(kept), kept);
});

test("an operator's name is cut, and only web addresses become links", () => {
  const parse = (operator: unknown) => parseOperator(JSON.stringify({ version: 1, operator }));
  assert.equal(parseOperator("not json"), null);
  assert.equal(parse(undefined), null);
  assert.equal(parse({ name: "", url: "javascript:alert(1)" }), null);
  assert.deepEqual(parse({ name: "Ana", url: "data:text/html,x" }), { name: "Ana", url: null });
  assert.equal(parse({ name: "x".repeat(500) })?.name?.length, 80);
  assert.equal(parse({ url: "https://ana.example" })?.url, "https://ana.example/");
});

test("an operator's file that never ends is read up to its limit only", async () => {
  let chunks = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      chunks += 1;
      controller.enqueue(new Uint8Array(16_384).fill(32));
    },
  });
  assert.equal(await readCapped(new Response(endless)), null);
  assert.ok(chunks < 10);
  assert.equal(await readCapped(new Response("{}")), "{}");
});
