import assert from "node:assert/strict";
import test from "node:test";
import { HeadClock } from "../src/head-clock.js";
import { ServerClock, inWords } from "../src/server-clock.js";

/** Heads of a chain whose blocks come every 2 s and travel for 300 ms, on a device that is `aheadMs` ahead. */
function follow(aheadMs: number, delays: number[] = Array(8).fill(300)) {
  let wall = 0;
  const reported: number[] = [];
  const clock = new HeadClock(() => wall, (offset) => void reported.push(offset));
  delays.forEach((delay, index) => {
    const timeMs = 1_700_000_000_000 + index * 2_000;
    wall = timeMs + delay + aheadMs;
    clock.take({ height: index + 10, timeMs });
  });
  return { clock, reported };
}

test("the offset of a wrong clock is known after some heads, and told once", () => {
  for (const ahead of [15_000, 40 * 86_400_000, -3_600_000, 0]) {
    const { clock, reported } = follow(ahead);
    assert.equal(clock.offsetMs, ahead + 300);
    assert.deepEqual(reported, [ahead + 300]);
  }
});

test("an old head at the start and single late ones do not count", () => {
  const { clock } = follow(0, [900_000, 300, 300, 60_000, 300, 300]);
  assert.equal(clock.offsetMs, 300);
});

test("two heads claim nothing yet, and a repeated head none at all", () => {
  const { clock } = follow(0, [300, 300, 300]);
  assert.equal(clock.offsetMs, null);
  for (let repeat = 0; repeat < 5; repeat += 1) clock.take({ height: 12, timeMs: 0 });
  assert.equal(clock.offsetMs, null);
});

test("the hosts' dates tell the offset, and the most modest one counts", () => {
  const now = Date.UTC(2026, 0, 1);
  const clock = new ServerClock(() => now + 40 * 86_400_000);
  assert.equal(clock.offsetMs, null);
  for (const header of [null, "yesterday", new Date(now - 5_000).toUTCString(), new Date(now).toUTCString()]) clock.take(header);
  assert.equal(clock.offsetMs, 40 * 86_400_000);
});

test("durations are put into words", () => {
  const words = [1_000, 15_000, 90_000, 7_200_000, 40 * 86_400_000, -3_600_000].map(inWords);
  assert.deepEqual(words, ["1 second", "15 seconds", "90 seconds", "2 hours", "40 days", "60 minutes"]);
});
