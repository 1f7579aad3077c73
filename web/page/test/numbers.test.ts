import assert from "node:assert/strict";
import test from "node:test";
import { parseNumber, parseRow } from "../src/numbers.js";

test("a number has a decimal point or a decimal comma", () => {
  assert.deepEqual(["5.1", " 3,5 ", "-1e3", "7"].map(parseNumber), [5.1, 3.5, -1000, 7]);
  assert.deepEqual(
    ["", "three", "1,2,3", "Infinity", "1.2,3"].map(parseNumber),
    Array(5).fill(null),
  );
});

test("a row is read as CSV, with spaces, or with decimal commas", () => {
  const row = [5.1, 3.5, 1.4, 0.2];
  const texts = [
    "5.1,3.5,1.4,0.2",
    "5.1 3.5\n1.4 0.2",
    "5.1 3.5; 1.4, 0.2",
    "5,1; 3,5; 1,4; 0,2",
  ];
  for (const text of texts) assert.deepEqual(parseRow(text, 4), row, text);
  assert.equal(parseRow("1, 2, three, 4", 4).length, 3);
});
