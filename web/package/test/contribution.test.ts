import assert from "node:assert/strict";
import test from "node:test";
import { Contribution, WORKERS_MAX, type ContributeOptions } from "../src/contribution.js";
import { OptionsError } from "../src/errors.js";
import { FakeDevice } from "./fakes.js";

function start(
  options: ContributeOptions = {},
  change: Partial<FakeDevice> = {},
  data = { today: 0 },
) {
  const device = Object.assign(new FakeDevice(), change);
  const applied: number[] = [];
  const states: string[] = [];
  const contribution = new Contribution(
    {
      device,
      dataToday: () => data.today,
      apply: (workers) => void applied.push(workers),
      codeAnswers: async () => true,
      monotonicMs: () => 0,
      changed: (state, workers, reason) => {
        states.push([state, workers, reason].filter((part) => part !== undefined).join(" "));
      },
    },
    options,
  );
  return { device, applied, states, contribution, data };
}

test("a computer leaves one core free, a phone gives one, and one core still gives one", () => {
  assert.deepEqual(start().applied, [3]);
  assert.deepEqual(start({}, { phone: true, cores: 8 }).applied, [1]);
  assert.deepEqual(start({}, { cores: 1 }).applied, [1]);
});

test("a hidden phone pauses; a hidden computer continues by default", () => {
  const phone = start({}, { phone: true });
  phone.device.hide(true);
  phone.device.hide(false);
  assert.deepEqual(phone.states, ["running 1", "paused 0 hidden", "running 1"]);
  const computer = start();
  computer.device.hide(true);
  assert.deepEqual(computer.states, ["running 3"]);
  const careful = start({ pauseWhenHidden: true });
  careful.device.hide(true);
  assert.equal(careful.contribution.pausedBy, "hidden");
});

test("a low battery pauses until it charges; a pause ends after both of two reasons", () => {
  const { device, states, contribution } = start({ pauseWhenHidden: true });
  device.drain(true);
  device.hide(true);
  device.drain(false);
  assert.equal(contribution.state, "paused");
  device.hide(false);
  assert.equal(contribution.state, "running");
  assert.deepEqual(states, ["running 3", "paused 0 battery", "paused 0 hidden", "running 3"]);
});

test("a change while paused waits for the end of the pause", () => {
  const { device, applied, contribution } = start();
  device.drain(true);
  contribution.setWorkers(2);
  assert.equal(applied.at(-1), 0);
  device.drain(false);
  assert.equal(applied.at(-1), 2);
});

test("stop is final, idempotent, and stops watching the device", () => {
  const { device, applied, states, contribution } = start({ pauseWhenHidden: true });
  contribution.stop();
  contribution.stop();
  device.drain(true);
  device.drain(false);
  assert.equal(contribution.state, "stopped");
  assert.equal(device.watchers, 0);
  assert.deepEqual(applied, [3, 0]);
  assert.deepEqual(states, ["running 3", "stopped 0"]);
});

test("an invalid number of workers is rejected", () => {
  for (const workers of [0, -1, 1.5, NaN, WORKERS_MAX + 1]) {
    assert.throws(() => start({ workers }), OptionsError);
  }
});

test("a metered connection pauses, unless the program or the person overrules that", () => {
  const { device, contribution } = start();
  device.meter(true);
  assert.equal(contribution.pausedBy, "metered");
  contribution.resume();
  assert.equal(contribution.state, "running");
  device.meter(false);
  device.meter(true);
  assert.equal(contribution.pausedBy, "metered", "the person overruled one pause, not all");
  const careless = start({ pauseOnMetered: false });
  careless.device.meter(true);
  assert.equal(careless.contribution.state, "running");
});

test("the data of a day are capped; resuming raises the cap by the same amount", () => {
  const { contribution, data, applied } = start({ dataCapPerDay: 1_000 });
  data.today = 1_000;
  contribution.checkData();
  assert.equal(contribution.pausedBy, "dataCap");
  assert.equal(applied.at(-1), 0);
  contribution.resume();
  assert.equal(contribution.state, "running");
  assert.equal(contribution.dataCap, 2_000);
  data.today = 2_000;
  contribution.checkData();
  assert.equal(contribution.state, "paused");
  contribution.setDataCap(5_000);
  assert.equal(contribution.state, "running");
  data.today = 0;
  assert.equal(start({}, {}, { today: 3e9 }).contribution.pausedBy, "dataCap");
  assert.equal(
    start({ dataCapPerDay: Infinity }, {}, { today: 3e9 }).contribution.state,
    "running",
  );
});

test("a new day ends the pause of the data cap", () => {
  const { contribution, data } = start({ dataCapPerDay: 10 });
  data.today = 11;
  contribution.checkData();
  data.today = 0;
  contribution.checkData();
  assert.equal(contribution.state, "running");
});

test("an invalid data cap is rejected", () => {
  for (const dataCapPerDay of [0, -1, NaN]) {
    assert.throws(() => start({ dataCapPerDay }), OptionsError);
  }
});
