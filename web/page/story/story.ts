/**
 * The page with invented data, for work on its design without a network. Only Vite's development
 * server serves it; the build has no entry for it. `?scene=` selects a scene of `scenes.ts`.
 */
import "../src/style/base.css";
import "../src/style/parts.css";
import "../src/style/board.css";
import { mount } from "../src/app.js";
import { reduce, withChoice } from "../src/state.js";
import { Store } from "../src/store.js";
import { startTheme } from "../src/theme.js";
import type { Actions } from "../src/views/view.js";
import { ME, scenes } from "./scenes.js";

const store = new Store();
const scene = new URLSearchParams(location.search).get("scene") ?? "running";
const show = scenes[scene] ?? ((state) => state);
startTheme(() => store.refresh());

const actions: Actions = {
  watch: async () => store.update((state) => (scenes["looking"] ?? show)(state)),
  join: async () => store.update((state) => (scenes["running"] ?? show)(state)),
  setPreferences: (change) => {
    store.update((state) => ({ ...state, preferences: { ...state.preferences, ...change } }), true);
  },
  resume: () => store.update((state) => (scenes["running"] ?? show)(state)),
  stop: () => store.update((state) => (scenes["stopped"] ?? show)(state)),
  leave: async () => store.update((state) => ({ ...state, phase: "away", activity: null })),
  chooseJob: (job) => store.update((state) => withChoice(state, job), true),
  predict: (features) => {
    const { model } = store.state;
    if (model === null) return null;
    const ink = Array.from(features).reduce((sum, value) => sum + value, 0);
    const raw = model.classes.map((_, index) => Math.exp(-((index - ink / 40) ** 2)));
    const total = raw.reduce((sum, value) => sum + value, 0);
    const confidences = raw.map((value) => value / total);
    const best = confidences.indexOf(Math.max(...confidences));
    return { label: model.classes[best] ?? "?", confidences };
  },
  saveProof: async () => ({ name: "tequio-contribution-b3f1a6.json", size: 4_812 }),
  shareProof: async () => ({ name: "tequio-contribution-b3f1a6.json", size: 4_812 }),
  saveModel: async (_, file) => ({ name: `tequio-${file}-b3f1a6.cbor`, size: 21_402 }),
};

const root = document.getElementById("app");
if (root) {
  const checkpoint = { url: "/checkpoint.bin", hash: "5e".repeat(32) };
  mount(root, {
    store,
    actions,
    launchParams: {
      checkpoint: scene === "nolink" ? null : checkpoint,
      relays: [],
      wellKnown: [],
      job: null,
    },
    device: { cores: 4, phone: scene === "phone" },
  });
}
store.update(show);

/** Feeds events at the rate of a busy node, so that a test can measure the cost of drawing. */
function flood(perSecond: number, seconds: number): Promise<void> {
  const started = performance.now();
  let sent = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const elapsedMs = performance.now() - started;
      for (const due = (elapsedMs * perSecond) / 1000; sent < due; sent += 1) feed(sent);
      if (elapsedMs < seconds * 1000) return;
      clearInterval(timer);
      resolve();
    }, 5);
  });
}

function feed(index: number): void {
  const [computeId, jobId] = [index, "b3f1a6"];
  const unit = { computeId, job: jobId, round: 1, unit: index % 8, kind: "compute" } as const;
  store.update((state) => {
    const nowMs = Date.now();
    const begun = reduce(state, { type: "unit", ...unit }, nowMs);
    const ended = reduce(begun, { type: "unitEnd", computeId, ok: true, elapsedMs: 9 }, nowMs);
    const credit = { type: "credit", job: jobId, units: 1, macs: 4_000_000 } as const;
    const credited = reduce(ended, credit, nowMs);
    const [job] = credited.jobs;
    if (index % 8 !== 0 || job === undefined) return credited;
    const contributors = (job.contributors ?? []).map((one) =>
      one.id === ME ? { ...one, units: one.units + 1 } : one,
    );
    const { round } = job;
    return reduce(
      credited,
      { type: "job", ...job, round, units: job.units + 8, contributors },
      nowMs,
    );
  });
}

Object.assign(globalThis, { flood });
