/** Fakes for the package's boundaries: a worker, a light node, an environment. */
import { connectWith, type ConnectOptions, type Environment } from "../src/connect.js";
import type { Device } from "../src/device.js";
import type { Clock } from "../src/ice-servers.js";
import type { Violation } from "../src/csp.js";
import type { FromWorker, PoolHost, ToWorker, WorkerLike } from "../src/pool.js";
import type {
  WireConfig,
  WireContribution,
  WireEvent,
  WireIceServer,
  WireJob,
  WireModule,
  WireNode,
} from "../src/wasm-types.js";

export const RELAY =
  "/ip4/127.0.0.1/tcp/4001/ws/p2p/12D3KooWGjMCZ2tWqs1tPqoB3KpGzBPSJgCyGSpd7aVUfs9hZDUH";
export const HASH = "ab".repeat(32);
const MODULE = {} as WebAssembly.Module;

/** A worker whose messages the test sends. */
export class FakeWorker implements WorkerLike {
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  readonly received: ToWorker[] = [];
  terminated = false;

  postMessage(message: ToWorker): void {
    this.received.push(message);
  }

  terminate(): void {
    this.terminated = true;
  }

  send(message: FromWorker): void {
    this.onmessage?.({ data: message } as MessageEvent<FromWorker>);
  }

  crash(message: string): void {
    this.onerror?.({ message } as ErrorEvent);
  }

  get units(): number[] {
    return this.received.flatMap((message) => (message.type === "unit" ? [message.computeId] : []));
  }
}

/** Records what a pool reports. */
export class FakeHost implements PoolHost {
  readonly workers: FakeWorker[] = [];
  readonly finished: { computeId: number; result: number[] }[] = [];
  readonly refused: { computeId: number; reason: string }[] = [];
  readonly losses: { message: string; replaced: boolean }[] = [];

  spawn(): FakeWorker {
    const worker = new FakeWorker();
    this.workers.push(worker);
    return worker;
  }

  done(computeId: number, result: Uint8Array): void {
    this.finished.push({ computeId, result: [...result] });
  }

  failed(computeId: number, reason: string): void {
    this.refused.push({ computeId, reason });
  }

  lost(message: string, replaced: boolean): void {
    this.losses.push({ message, replaced });
  }

  get alive(): FakeWorker[] {
    return this.workers.filter((worker) => !worker.terminated);
  }
}

/** A device whose visibility, battery and connection the test changes. */
export class FakeDevice implements Device {
  cores = 4;
  phone = false;
  watchers = 0;
  hide: (hidden: boolean) => void = () => {};
  drain: (low: boolean) => void = () => {};
  meter: (metered: boolean) => void = () => {};

  watchHidden(changed: (hidden: boolean) => void): () => void {
    this.hide = changed;
    return this.#watched();
  }

  watchBattery(changed: (low: boolean) => void): () => void {
    this.drain = changed;
    return this.#watched();
  }

  watchMetered(changed: (metered: boolean) => void): () => void {
    this.meter = changed;
    return this.#watched();
  }

  #watched(): () => void {
    this.watchers += 1;
    return () => void (this.watchers -= 1);
  }
}

/** The facts that the fake boundary proves. */
export const PROVED: WireContribution = {
  chain: "c",
  job: "j",
  name: "digits",
  coordinator: "k",
  id: "me",
  units: 4,
  checks: 1,
  macs: 40,
  macsOfAll: 100,
  contributors: 3,
  height: 9,
  timeMs: 5,
};

/** A light node that records the calls it receives. */
export class FakeLight implements WireNode {
  readonly workersSet: number[] = [];
  readonly results = new Map<number, number[]>();
  readonly failures = new Map<number, string>();
  readonly iceServersSet: WireIceServer[][] = [];
  closed = 0;
  emit: (event: WireEvent) => void = () => {};
  fail: unknown = null;
  config: WireConfig | null = null;

  status = () => ({
    node: "n",
    chain: "c",
    head: null,
    peers: [],
    bytesReceived: 1,
    bytesSent: 2,
    storage: "kept" as const,
    contributing: false,
    workers: 0,
  });
  bytes = { received: 0, sent: 0 };
  traffic = () => this.bytes;
  contributionProof = (job: string) => this.#answer(Uint8Array.of(1, job.length));
  modelFiles = (job: string) => this.#answer({
    job,
    modelCid: "m",
    model: new Uint8Array([1]),
    recordCid: "r",
    record: new Uint8Array([2]),
  });
  readRef = (name: string) => this.#answer({ name, cid: "bafy", sequence: 1, height: 2 });
  readObject = () => this.#answer(new Uint8Array([1]));
  readModel = (job: string) =>
    this.#answer({
      job,
      cid: "bafy",
      classes: ["a", "b"],
      features: 2,
      columns: [
        { name: "x", mean: 0, deviation: 1 },
        { name: "y", mean: 5, deviation: 2 },
      ],
      accuracy: 0.97,
      predict: (row: Float64Array) => ({
        label: (row[0] ?? 0) > 0 ? "a" : "b",
        confidences: [0.75, 0.25],
      }),
      free: () => {},
    });
  record = () => this.#answer({ contributors: [] });
  jobList: WireJob[] = [];
  jobs = () => this.#answer(this.jobList);
  account = (id = "me") => this.#answer({ id, reputation: 1, units: 2, nonce: 3, bond: 4 });
  setWorkers(count: number): void {
    this.workersSet.push(count);
  }
  unitDone(computeId: number, result: Uint8Array): void {
    this.results.set(computeId, [...result]);
  }
  unitFailed(computeId: number, message: string): void {
    this.failures.set(computeId, message);
  }
  setIceServers(servers: WireIceServer[]): void {
    this.iceServersSet.push(servers);
  }
  async close(): Promise<void> {
    this.closed += 1;
  }

  async #answer<T>(value: T): Promise<T> {
    if (this.fail !== null) throw this.fail;
    return value;
  }
}

/** Two clocks that the test sets, and timers that it fires. */
export class FakeClock implements Clock {
  monotonic = 1_000;
  wall = 1_700_000_000_000;
  timers: (() => void)[] = [];

  monotonicMs = () => this.monotonic;
  wallMs = () => this.wall;
  every(_: number, run: () => void): () => void {
    this.timers.push(run);
    return () => void (this.timers = this.timers.filter((timer) => timer !== run));
  }

  pass(ms: number): void {
    this.monotonic += ms;
    this.wall += ms;
  }
}

/** An environment with a fake light node, and a record of the node's actions. */
export function fakeEnvironment() {
  const light = new FakeLight();
  const device = new FakeDevice();
  const host = new FakeHost();
  const clock = new FakeClock();
  const fake = {
    light,
    device,
    host,
    clock,
    secure: true,
    missingFeature: null as string | null,
    violation: null as Violation | null,
    loads: 0,
    taken: [] as string[],
    released: 0,
    startError: null as unknown,
    codeAnswers: true,
    codeQuestions: 0,
    whileStarting: (_: (event: WireEvent) => void): void => {},
    starting: settled,
  };
  const wasm: WireModule = {
    default: async () => undefined,
    initSync: () => undefined,
    LightNode: {
      async start(config, onEvent) {
        fake.whileStarting(onEvent);
        await fake.starting();
        if (fake.startError !== null) throw fake.startError;
        light.config = config;
        light.emit = onEvent;
        return light;
      },
    },
    computeUnit: (input) => input,
    benchCompute: (n) => ({ kernel: "fake", n, gmacs: 1 }),
    verifyContribution: (proof) => {
      if (proof[0] !== 1) {
        throw Object.assign(new Error("the proof does not hold"), { code: "BAD_OBJECT" });
      }
      return PROVED;
    },
    checkpointChain: () => "c0".repeat(32),
    hashBytes: (bytes) => (bytes[0] === 7 ? HASH : "cd".repeat(32)),
  };
  const environment: Environment = {
    missingFeature: () => fake.missingFeature,
    secure: () => fake.secure,
    origin: () => "http://192.168.1.5",
    load: async () => {
      fake.loads += 1;
      return { wasm, module: MODULE };
    },
    spawnWorker: () => host.spawn(),
    codeAnswers: async () => {
      fake.codeQuestions += 1;
      return fake.codeAnswers;
    },
    device: () => device,
    clock,
    counters: () => null,
    watchViolations: (report) => {
      if (fake.violation) report(fake.violation);
      return () => {};
    },
    takeStore: async (name) => {
      fake.taken.push(name);
      return { name, database: name, release: () => void (fake.released += 1) };
    },
  };
  const connect = (options: Partial<ConnectOptions> = {}) =>
    connectWith(environment, { checkpoint: new Uint8Array([1]), relays: [RELAY], ...options });
  return Object.assign(fake, { connect, environment, wasm });
}

/** Lets queued microtasks and timers of 0 ms run. */
export const settled = () => new Promise<void>((resolve) => setTimeout(resolve, 1));
