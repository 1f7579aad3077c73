import assert from "node:assert/strict";
import test from "node:test";
import { DIGIT_SIDE, toDigit, type Point } from "../src/digit.js";

const row = (digit: Float64Array, y: number) =>
  Array.from(digit.slice(y * DIGIT_SIDE, (y + 1) * DIGIT_SIDE));
const line = (...points: [number, number][]): Point[] => points.map(([x, y]) => ({ x, y }));

test("an empty board is all zero", () => {
  assert.ok(toDigit([]).every((value) => value === 0));
  assert.equal(toDigit([]).length, 64);
});

test("intensities are whole numbers from 0 to 16, as in the digits set", () => {
  const digit = toDigit([line([0.1, 0.1], [0.9, 0.2], [0.5, 0.9]), line([0.2, 0.8])]);
  assert.ok(digit.every((value) => Number.isInteger(value) && value >= 0 && value <= 16));
  assert.ok(Math.max(...digit) > 8);
});

test("position and size of the drawing have no effect", () => {
  const seven: [number, number][] = [[0, 0], [1, 0], [0.4, 1]];
  const at = (scale: number, dx: number, dy: number) => {
    const moved = seven.map(([x, y]): [number, number] => [dx + x * scale, dy + y * scale]);
    return toDigit([line(...moved)]);
  };
  assert.deepEqual(at(0.25, 0.5, 0.125), at(0.5, 0.25, 0.375));
  assert.notDeepEqual(at(0.5, 0, 0), toDigit([line([0.1, 0.1], [0.1, 0.9])]));
});

test("a one fills the height in the middle and is not widened", () => {
  const digit = toDigit([line([0.3, 0.2], [0.3, 0.8])]);
  for (let y = 0; y < DIGIT_SIDE; y += 1) {
    assert.deepEqual(row(digit, y).slice(0, 3), [0, 0, 0]);
    assert.deepEqual(row(digit, y).slice(5), [0, 0, 0]);
    assert.ok((row(digit, y)[3] ?? 0) > 0 && (row(digit, y)[4] ?? 0) > 0);
  }
});

test("a dot becomes a dot in the middle", () => {
  const digit = toDigit([line([0.9, 0.1])]);
  assert.deepEqual(row(digit, 0), Array(8).fill(0));
  assert.ok(digit.reduce((sum, value) => sum + value, 0) > 4);
});
