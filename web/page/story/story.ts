/**
 * The page fed with invented data, to look at its design without a network.
 * Served by Vite's development server only; the build has no entry for it.
 * `?scene=away|running|final|failed|other|nolink|phone` chooses what is seen.
 */
import "../src/style/base.css";
import "../src/style/parts.css";
import "../src/style/board.css";
import type { Job } from "tequio";
import { mount, type Actions } from "../src/app.js";
import { logged, withJobs, type State } from "../src/state.js";
import { Store } from "../src/store.js";
import { startTheme } from "../src/theme.js";

const ME = "12D3KooWGjMCZ2tWqs1tPqoB3KpGzBPSJgCyGSpd7aVUfs9hZDUH";
const OTHERS = [
  "12D3KooWAbQ4oTgVZFbWq6xVnUjCLFQNm7Z8jHNnJ5ynDvN5tDGe",
  "12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2",
  "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo",
] as const;

const store = new Store();
const scene = new URLSearchParams(location.search).get("scene") ?? "running";
startTheme(() => store.refresh());

function job(round: number, rounds: number): Job {
  const curve = Array.from({ length: round }, (_, index) => ({
    round: index + 1,
    accuracy: 0.975 - 0.87 * Math.exp(-(index + 0.4) / 6) + 0.006 * Math.sin(index * 2.3),
  }));
  return {
    id: "b3f1a6",
    kind: "train",
    name: "digits",
    state: round === rounds ? "final" : "running",
    round,
    rounds,
    accuracy: curve.at(-1)?.accuracy ?? null,
    curve,
    units: round * 8,
    unitsByMe: Math.round(round * 8 * 0.29),
    coordinator: OTHERS[0],
  };
}

const connected = (state: State, round: number): State => {
  let next: State = withJobs(
    {
      ...state,
      phase: "connected",
      node: ME,
      chain: "9a".repeat(32),
      head: { height: 1_284, timeMs: Date.now() - 3_000, hash: "7c".repeat(32), signers: 4, committee: 4 },
      peers: [
        { id: OTHERS[0], path: "direct", transport: "webrtc", rttMs: 4 },
        { id: OTHERS[1], path: "relayed", transport: "websocket", relayedBy: OTHERS[0], rttMs: 12 },
      ],
      bytes: { received: 1_843_200, sent: 412_000 },
      contribution: { state: "running", workers: 3, reason: null },
      mine: { units: 91, macs: 4_312_000_000, busy: 3, computed: 94 },
      account: { id: ME, reputation: 182, units: 91, nonce: 2, bond: 0 },
    },
    [job(round, 40)],
  );
  next = logged(next, Date.now() - 64_000, "good", "log.connected", { node: ME });
  next = logged(next, Date.now() - 63_000, "plain", "log.direct", { peer: OTHERS[0], transport: "WebRTC" });
  next = logged(next, Date.now() - 31_000, "bad", "log.rejected", { worker: OTHERS[2], round: 14, lane: 3, reason: "digest of step 11 differs" });
  return logged(next, Date.now() - 9_000, "bad", "log.lie", { peer: OTHERS[1], what: "proof", detail: "leaf does not hash to the state root" });
};

const finished = (state: State): State => ({
  ...connected(state, 40),
  model: { job: "b3f1a6", cid: "bafyr4ihx7k2m3v5qz6w4jy2t3n5p7s9a2c4e6g8i", classes: [..."0123456789"], features: 64, accuracy: 0.9722 },
  contributors: [
    { id: OTHERS[0], units: 118, checks: 97, macs: 6_120_000_000 },
    { id: ME, units: 91, checks: 84, macs: 4_312_000_000 },
    { id: OTHERS[1], units: 71, checks: 99, macs: 3_390_000_000 },
    { id: OTHERS[2], units: 40, checks: 40, macs: 1_910_000_000 },
  ],
});

const scenes: Record<string, (state: State) => State> = {
  away: (state) => state,
  running: (state) => connected(state, 23),
  final: finished,
  other: (state) => ({ ...finished(state), model: { job: "b3f1a6", cid: "bafyr4iother", classes: ["setosa", "versicolor", "virginica"], features: 4, accuracy: 0.96 } }),
  failed: (state) => ({ ...state, phase: "failed", error: { code: "NO_RELAY", message: "no relay answered" } }),
};

const actions: Actions = {
  join: async () => store.update((state) => connected(state, 23)),
  compute: (workers) => store.update((state) => ({ ...state, contribution: { state: "running", workers, reason: null } })),
  setWorkers: (workers) => store.update((state) => ({ ...state, contribution: { ...state.contribution, workers } })),
  stop: () => store.update((state) => ({ ...state, contribution: { state: "stopped", workers: 0, reason: null } })),
  leave: async () => store.update((state) => ({ ...state, phase: "away" })),
  chooseJob: () => {},
  predict: (features) => {
    const { model } = store.state;
    if (model === null) return null;
    const ink = Array.from(features).reduce((sum, value) => sum + value, 0);
    const raw = model.classes.map((_, index) => Math.exp(-((index - (ink / 40)) ** 2)));
    const total = raw.reduce((sum, value) => sum + value, 0);
    const confidences = raw.map((value) => value / total);
    return { label: model.classes[confidences.indexOf(Math.max(...confidences))] ?? "?", confidences };
  },
};

const root = document.getElementById("app");
if (root) {
  mount(root, {
    store,
    actions,
    place: { checkpoint: scene === "nolink" ? null : { url: "/checkpoint.bin", hash: "5e".repeat(32) }, relays: [], wellKnown: [], job: null },
    device: { cores: 4, phone: scene === "phone" },
  });
}
store.update(scenes[scene] ?? ((state) => state));
