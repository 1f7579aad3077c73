/**
 * `connect()` checks the options and the environment, finds relays and the checkpoint, and starts
 * the node. Wrong options are rejected before anything is loaded. Every failure reaches the program
 * as a `TequioError`.
 */
import { checkCheckpoint, resolveCheckpoint, type PinnedCheckpoint } from "./checkpoint.js";
import { DataMeter, counterStorage, type CounterStorage } from "./data-use.js";
import { browserDevice, type Device } from "./device.js";
import {
  CheckpointError,
  InsecureOriginError,
  OptionsError,
  StorageError,
  UnsupportedError,
  fromBoundary,
  type TequioError,
} from "./errors.js";
import { callGuarded, type TequioEvent } from "./events.js";
import { checkIceServers, type IceServer } from "./ice.js";
import { IceServerList, browserClock, type Clock } from "./ice-servers.js";
import { TequioNode } from "./node.js";
import { CspWatch, watchViolations, type Violation } from "./csp.js";
import type { WorkerLike } from "./pool.js";
import { checkRelays, discover, readWellKnown, type Bootstrap, type Relay } from "./relays.js";
import { OFFSET_MS_MIN, ServerClock, formatDuration } from "./server-clock.js";
import { abortable, throwIfAborted } from "./signals.js";
import { takeStore, type StoreSlot } from "./store-slot.js";
import {
  codeAnswers,
  load,
  spawnWorker,
  type CodeUrls,
  type Loaded,
  type Report,
} from "./wasm-loader.js";

/** Options of {@link connect}. */
export interface ConnectOptions {
  /**
   * The starting point of trust: the bytes of a checkpoint, or its URL with its BLAKE3 hash. Get it
   * from a source you trust, or ship it with your page.
   */
  checkpoint: Uint8Array | PinnedCheckpoint;
  /** Relay multiaddresses that end in `/p2p/…`, tried in parallel. Relays need no trust. */
  relays?: readonly string[];
  /** URLs of `/.well-known/tequio.json` files that name relays. Only their addresses are used. */
  wellKnown?: string | URL | readonly (string | URL)[];
  /**
   * STUN and TURN servers for paths between browsers, placed before those of the well-known files.
   * The node renews the credentials of the files' servers before they expire. Replace your own with
   * {@link TequioNode.setIceServers}. This version connects to relays only: it checks and keeps the
   * servers, but does not use them yet.
   */
  iceServers?: readonly IceServer[];
  /**
   * Name of the IndexedDB database for head and identity; each further tab gets its own. Default
   * `tequio`.
   */
  store?: string;
  /** The agent name that peers receive. */
  agent?: string;
  /** Receives every event, including those while connecting, even if connecting fails. */
  onEvent?: (event: TequioEvent) => void;
  /** Aborts connecting immediately with {@link AbortError}. */
  signal?: AbortSignal;
  /**
   * URL of `tequio_wasm_bg.wasm`, for bundlers that do not support `new URL(…, import.meta.url)`.
   * Only the first call's URL counts.
   */
  wasmUrl?: string | URL;
  /** URL of the module `tequio/worker`, on the page's own origin, for the same bundlers. */
  workerUrl?: string | URL;
}

/** What `connect` uses of its environment. Tests replace it. @internal */
export interface Environment {
  /** The feature that a node needs and that is missing, or null. */
  missingFeature(): string | null;
  secure(): boolean;
  origin(): string;
  load(urls: CodeUrls, report: Report): Promise<Loaded>;
  spawnWorker(urls: CodeUrls): WorkerLike;
  codeAnswers(urls: CodeUrls): Promise<boolean>;
  device(): Device;
  takeStore(base: string): Promise<StoreSlot | null>;
  clock: Clock;
  counters(): CounterStorage | null;
  watchViolations(report: (violation: Violation) => void): () => void;
}

const NO_BOOTSTRAP: Bootstrap = { relays: [], ice: [] };
/** How long a start with explicit relays waits for a well-known file, once the code is loaded. */
const WELL_KNOWN_GRACE_MS = 2_000;

const browserEnvironment: Environment = {
  missingFeature,
  secure: () => globalThis.isSecureContext !== false && globalThis.crypto?.subtle !== undefined,
  origin: () => globalThis.location?.origin ?? "this origin",
  load,
  spawnWorker,
  codeAnswers,
  device: browserDevice,
  takeStore,
  clock: browserClock,
  counters: counterStorage,
  watchViolations,
};

/**
 * Starts a light node in this page and connects it to the network.
 *
 * The node reads and verifies; it computes nothing until {@link TequioNode.contribute}.
 *
 * @throws {@link CheckpointError}, {@link OptionsError}, {@link InsecureOriginError},
 * {@link UnsupportedError}, {@link NetworkError}, {@link AbortError}
 */
export function connect(options: ConnectOptions): Promise<TequioNode> {
  return connectWith(browserEnvironment, options);
}

/** `connect` in a given environment. @internal */
export async function connectWith(
  environment: Environment,
  options: ConnectOptions,
): Promise<TequioNode> {
  const csp = new CspWatch((report) => environment.watchViolations(report));
  const serverClock = new ServerClock(() => environment.clock.wallMs());
  try {
    const checked = checkOptions(options);
    throwIfAborted(checked.signal);
    const missing = environment.missingFeature();
    if (missing !== null) throw new UnsupportedError(missing);
    if (!environment.secure()) throw new InsecureOriginError(environment.origin());
    return await abortable(start(environment, options, checked, serverClock), checked.signal);
  } catch (error) {
    throw explainStaleCheckpoint(
      await csp.explain(fromBoundary(error)),
      serverClock,
      environment.clock,
    );
  } finally {
    csp.stop();
  }
}

/** Starts a node. Closes it if the signal was aborted meanwhile. */
async function start(
  environment: Environment,
  options: ConnectOptions,
  checked: CheckedOptions,
  serverClock: ServerClock,
): Promise<TequioNode> {
  const { signal, urls } = checked;
  const finding = findBootstrap(environment, checked, serverClock);
  // The code is awaited first; meanwhile this rejection must not count as unhandled.
  finding.catch(() => {});
  const loading = environment.load(urls, (progress) =>
    callGuarded(() => options.onEvent?.({ type: "load", ...progress })),
  );
  // The checkpoint loads in parallel with the code, and waits for the code's hash function.
  const hasher = loading.then(({ wasm }) => wasm.hashBytes);
  const resolving = resolveCheckpoint(checked.checkpoint, hasher, signal, serverClock);
  resolving.catch(() => {});
  hasher.catch(() => {});
  const { wasm, module } = await loading;
  const hasRelays = checked.relays.length > 0;
  const found = await (hasRelays
    ? withTimeout(finding, WELL_KNOWN_GRACE_MS, NO_BOOTSTRAP)
    : finding);
  const checkpoint = await resolving;
  throwIfAborted(signal);
  const relays = [
    ...checked.relays,
    ...relaysOfNetwork(wasm.checkpointChain(checkpoint), found.relays),
  ];
  if (relays.length === 0) throw otherNetworkError(wasm.checkpointChain(checkpoint), found.relays);

  const slot = await environment.takeStore(checked.store);
  if (slot === null) {
    throw new StorageError("too many tabs of this origin are nodes already; close one of them");
  }
  const { clock } = environment;
  const node = new TequioNode({
    module,
    wasm,
    checkpoint,
    device: environment.device(),
    spawnWorker: () => environment.spawnWorker(urls),
    codeAnswers: () => environment.codeAnswers(urls),
    clock,
    meter: new DataMeter(clock, environment.counters(), slot.name),
    onClosed: () => slot.release(),
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  });
  const ice = new IceServerList(checked.iceServers, found.ice, {
    clock,
    fetchWellKnown: readWellKnown,
    apply: (servers) => node.applyIceServers(servers),
    warn: (message) => node.receive({ type: "log", level: "warn", message }),
  });
  try {
    const light = await wasm.LightNode.start(
      {
        checkpoint,
        relays: [...new Set(relays)],
        iceServers: ice.list(),
        ...(slot.database === undefined ? {} : { store: slot.database }),
        ...(options.agent === undefined ? {} : { agent: options.agent }),
      },
      (event) => node.receive(event),
    );
    node.attach(light, ice);
    throwIfAborted(signal);
  } catch (error) {
    await node.close();
    throw error;
  }
  return node;
}

/**
 * Addresses of the relays that name this network, or none. Data of another network would not
 * verify, so the node would report its relays for invalid data. The network that a well-known file
 * names is unproved: a false one can only hide a relay from this program.
 */
function relaysOfNetwork(chain: string, relays: readonly Relay[]): string[] {
  return relays
    .filter((relay) => relay.chain === null || relay.chain === chain)
    .map(({ address }) => address);
}

function otherNetworkError(chain: string, relays: readonly Relay[]): CheckpointError {
  const named = [...new Set(relays.map((relay) => relay.chain))].join(", ");
  return new CheckpointError(
    "OTHER_NETWORK",
    `the checkpoint belongs to network ${chain}, but the well-known files name ${named}: ` +
      "take both from one network",
  );
}

/** Reads the well-known files. With explicit relays, an unreadable file is no failure. */
async function findBootstrap(
  environment: Environment,
  checked: CheckedOptions,
  serverClock: ServerClock,
): Promise<Bootstrap> {
  if (checked.wellKnown.length === 0) return NO_BOOTSTRAP;
  try {
    return await discover(checked.wellKnown, environment.clock, checked.signal, serverClock);
  } catch (error) {
    if (checked.relays.length > 0) return NO_BOOTSTRAP;
    throw error;
  }
}

/** The result of `work`, or `otherwise` if it takes longer than `ms`. */
async function withTimeout<T>(work: Promise<T>, ms: number, otherwise: T): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<T>((resolve) => (timer = setTimeout(() => resolve(otherwise), ms)));
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Adds the device's clock as a possible cause to the error of a checkpoint that is too old. */
function explainStaleCheckpoint(
  error: TequioError,
  serverClock: ServerClock,
  clock: Clock,
): TequioError {
  if (error.code !== "STALE_CHECKPOINT") return error;
  const { offsetMs } = serverClock;
  const date = new Date(clock.wallMs()).toISOString().slice(0, 10);
  if (offsetMs === null || Math.abs(offsetMs) < OFFSET_MS_MIN) {
    const hint =
      offsetMs === null ? ` If this device's clock is wrong (it says ${date}), set it first.` : "";
    return new CheckpointError(
      "STALE_CHECKPOINT",
      `${error.message}.${hint}`,
      error.cause,
      error.details,
    );
  }
  const by = `${formatDuration(offsetMs)} ${offsetMs > 0 ? "ahead of" : "behind"}`;
  const message =
    `this device's clock says ${date}, ${by} the host of the page: set the clock first. ` +
    `By this clock, ${error.message}`;
  return new CheckpointError("STALE_CHECKPOINT", message, error.cause, {
    ...error.details,
    clockOffsetMs: offsetMs,
  });
}

/** The missing feature that a node needs, or null. Node has a WebSocket from version 22 on. */
function missingFeature(): string | null {
  const here = typeof document === "object" ? "this browser" : "this JavaScript runtime";
  if (typeof WebSocket !== "function") {
    return `${here} has no WebSocket, by which relays are reached (Node has it from version 22 on)`;
  }
  if (globalThis.isSecureContext === undefined && globalThis.crypto?.subtle === undefined) {
    return `${here} has no WebCrypto`;
  }
  return null;
}

type CheckedOptions = ReturnType<typeof checkOptions>;

function checkOptions(options: ConnectOptions) {
  const given = (options ?? {}) as Partial<ConnectOptions>;
  const checkpoint = checkCheckpoint(given.checkpoint);
  const relays = checkRelays(given.relays ?? []);
  const iceServers = checkIceServers(given.iceServers ?? []);
  const wellKnown =
    given.wellKnown === undefined ? [] : ([given.wellKnown].flat() as (string | URL)[]);
  if (!wellKnown.every(isUrl)) {
    throw new OptionsError("wellKnown is a URL, or a list of URLs, of tequio.json files");
  }
  if (relays.length === 0 && wellKnown.length === 0) {
    throw new OptionsError(
      "connect() needs a way into the network: relays, or wellKnown with the URL of a tequio.json",
    );
  }
  const { signal } = given;
  if (signal !== undefined && typeof signal.addEventListener !== "function") {
    throw new OptionsError("signal is an AbortSignal");
  }
  if (given.onEvent !== undefined && typeof given.onEvent !== "function") {
    throw new OptionsError("onEvent is a function");
  }
  if (given.agent !== undefined && typeof given.agent !== "string") {
    throw new OptionsError("agent is a string");
  }
  const urls = { ...checkUrl("wasmUrl", given.wasmUrl), ...checkUrl("workerUrl", given.workerUrl) };
  const store = given.store ?? "tequio";
  if (typeof store !== "string" || !/^[\w.-]{1,64}$/.test(store)) {
    throw new OptionsError(
      "store is a name of 1 to 64 letters, digits, dots, dashes and underscores",
    );
  }
  return { checkpoint, relays, wellKnown, iceServers, store, signal, urls };
}

function checkUrl<K extends keyof CodeUrls>(name: K, url: unknown): Pick<CodeUrls, K> | undefined {
  if (url === undefined) return undefined;
  if (!isUrl(url) || url === "") throw new OptionsError(`${name} is a URL`);
  return { [name]: url } as Pick<CodeUrls, K>;
}

/** Whether `url` is a URL, absolute or relative to the page. */
function isUrl(url: unknown): boolean {
  if (typeof url !== "string" && !(url instanceof URL)) return false;
  try {
    // Not URL.canParse, which Safari lacks before version 17.
    return Boolean(new URL(String(url), globalThis.location?.href ?? "http://localhost/"));
  } catch {
    return false;
  }
}
