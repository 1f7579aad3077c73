import assert from "node:assert/strict";
import test from "node:test";
import { DataMeter, WRITE_INTERVAL_MS, type CounterStorage } from "../src/data-use.js";
import { FakeClock } from "./fakes.js";

const DAY_MS = 86_400_000;

class FakeStorage extends Map<string, string> implements Omit<CounterStorage, "length"> {
  getItem = (key: string) => this.get(key) ?? null;
  setItem = (key: string, value: string) => void this.set(key, value);
  removeItem = (key: string) => void this.delete(key);
  key = (index: number) => [...this.keys()][index] ?? null;
  get length() {
    return this.size;
  }
}

/** A clock at noon, so that the tests' minutes stay in one day. */
function clockAtNoon(): FakeClock {
  const clock = new FakeClock();
  clock.wall = new Date(2026, 10, 30, 12).getTime();
  return clock;
}

test("today is the sum over the tabs and visits of an origin", () => {
  const [clock, storage] = [clockAtNoon(), new FakeStorage() as unknown as CounterStorage];
  const first = new DataMeter(clock, storage, "tequio");
  first.sample(600, 400);
  const second = new DataMeter(clock, storage, "tequio-2");
  second.sample(50, 0);
  assert.equal(second.use(null).today, 1_050);
  first.close();
  const reloaded = new DataMeter(clock, storage, "tequio");
  reloaded.sample(0, 7);
  assert.deepEqual(reloaded.use(5), {
    received: 0,
    sent: 7,
    perMinute: 0,
    today: 1_057,
    capPerDay: 5,
    projectedToday: 1_057,
  });
});

test("a new day begins at 0 and removes earlier days", () => {
  const [clock, storage] = [clockAtNoon(), new FakeStorage()];
  const meter = new DataMeter(clock, storage as unknown as CounterStorage, "tequio");
  meter.sample(1_000, 0);
  clock.pass(DAY_MS);
  meter.sample(1_300, 0);
  const { today, received } = meter.use(null);
  assert.equal(received, 1_300);
  assert.equal(today, 300);
  meter.close();
  assert.deepEqual([...storage.values()], ["300"]);
});

test("the rate and the projection are those of the last minute", () => {
  const clock = clockAtNoon();
  const meter = new DataMeter(clock, null, "tequio");
  for (let second = 0; second <= 120; second += 2) {
    meter.sample(second < 60 ? second * 1_000 : 60_000, 0);
    clock.pass(2_000);
  }
  assert.equal(meter.use(null).perMinute, 0);
  meter.sample(120_000, 0);
  const { perMinute, projectedToday, today } = meter.use(null);
  assert.equal(perMinute, 60_000);
  const minutesLeft = (DAY_MS / 2 - 122_000) / 60_000;
  assert.ok(Math.abs(projectedToday - today - 60_000 * minutesLeft) < 60_000);
});

test("without a working storage the count of this visit stays in memory", () => {
  const broken = {
    get length(): number {
      throw new DOMException("no", "SecurityError");
    },
  } as unknown as CounterStorage;
  const clock = clockAtNoon();
  const meter = new DataMeter(clock, broken, "tequio");
  meter.sample(1, 2);
  clock.pass(WRITE_INTERVAL_MS);
  meter.sample(3, 4);
  meter.close();
  assert.equal(meter.use(null).today, 7);
});

test("a foreign or damaged counter counts as 0", () => {
  const [clock, storage] = [clockAtNoon(), new FakeStorage()];
  storage
    .set("tequio-data:2026-11-30:x", "lots")
    .set("other", "9")
    .set("tequio-data:2026-11-30:y", "-5");
  const meter = new DataMeter(clock, storage as unknown as CounterStorage, "tequio");
  assert.equal(meter.use(null).today, 0);
  assert.ok(storage.has("other"));
});
