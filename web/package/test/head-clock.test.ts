import assert from "node:assert/strict";
import test from "node:test";
import { HeadClock } from "../src/head-clock.js";
import { FakeClock } from "./fakes.js";
import { ServerClock, formatDuration } from "../src/server-clock.js";

const START_MS = 1_700_000_000_000;

/** A chain with a block every 2 s and the network delays `delays`, on a device `aheadMs` ahead. */
function follow(
  aheadMs: number,
  delays: number[] = Array(8).fill(300),
  before: { timeMs: number }[] = [],
) {
  const [clock, reported] = [new FakeClock(), [] as number[]];
  const heads = new HeadClock(clock, (offset) => void reported.push(offset));
  const arrive = (height: number, timeMs: number, atMs: number) => {
    clock.monotonic = atMs;
    clock.wall = START_MS + atMs + aheadMs;
    heads.take({ height, timeMs });
  };
  before.forEach(({ timeMs }, index) => arrive(index + 1, timeMs, index * 5));
  delays.forEach((delay, index) =>
    arrive(index + 100, START_MS + index * 2_000, index * 2_000 + delay),
  );
  return { heads, reported, arrive };
}

test("the offset of a wrong clock is known after some heads, and reported once", () => {
  for (const ahead of [15_000, 40 * 86_400_000, -3_600_000, 0]) {
    const { heads, reported } = follow(ahead);
    assert.equal(heads.offsetMs, ahead + 300);
    assert.deepEqual(reported, [ahead + 300]);
  }
});

test("old heads during a sync, and late heads, do not count", () => {
  const old = Array.from({ length: 20 }, (_, index) => ({
    timeMs: START_MS - (20 - index) * 3_600_000,
  }));
  const { heads, reported } = follow(0, [300, 300, 60_000, 300, 300, 300, 300, 300], old);
  assert.equal(heads.offsetMs, 300);
  assert.deepEqual(reported, [300]);
});

test("two heads give no offset yet, and a repeated head does not count", () => {
  const { heads, arrive } = follow(0, [300, 300, 300]);
  assert.equal(heads.offsetMs, null);
  for (let repeat = 0; repeat < 5; repeat += 1) arrive(102, START_MS + 4_000, 6_000);
  assert.equal(heads.offsetMs, null);
});

test("the hosts' dates give the offset, and the smallest one counts", () => {
  const now = Date.UTC(2026, 0, 1);
  const clock = new ServerClock(() => now + 40 * 86_400_000);
  assert.equal(clock.offsetMs, null);
  const dates = [now - 5_000, now].map((dateMs) => new Date(dateMs).toUTCString());
  for (const header of [null, "yesterday", ...dates]) clock.take(header);
  assert.equal(clock.offsetMs, 40 * 86_400_000);
});

test("durations are put into words", () => {
  const words = [1_000, 15_000, 90_000, 7_200_000, 40 * 86_400_000, -3_600_000].map(formatDuration);
  assert.deepEqual(
    words,
    ["1 second", "15 seconds", "90 seconds", "2 hours", "40 days", "60 minutes"],
  );
});
