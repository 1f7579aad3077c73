/**
 * `connect()`: checks the options, then the surroundings, then finds relays and the
 * checkpoint, then starts the node. What a program did wrong is refused before
 * anything is loaded. Whatever fails reaches the program as a `TequioError`.
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
import { guarded, type TequioEvent } from "./events.js";
import { checkIceServers, type IceServer } from "./ice.js";
import { IceServerList, browserClock, type Clock } from "./ice-servers.js";
import { TequioNode } from "./node.js";
import { PolicyWatch, watchViolations, type Violation } from "./policy.js";
import type { WorkerLike } from "./pool.js";
import { checkRelays, discover, readWellKnown, type Relay, type WayIn } from "./relays.js";
import { OFFSET_MS_MIN, ServerClock, inWords } from "./server-clock.js";
import { abortable, throwIfAborted } from "./signals.js";
import { takeStore, type StoreSlot } from "./store-slot.js";
import { load, spawnWorker, type CodeUrls, type Loaded, type Report } from "./wasm-loader.js";

/** Options of {@link connect}. */
export interface ConnectOptions {
  /**
   * Where trust starts: the bytes of a checkpoint, or its URL with the BLAKE3
   * hash it must have. Get it from somebody you trust, or ship it with your page.
   */
  checkpoint: Uint8Array | PinnedCheckpoint;
  /** Relay multiaddresses that end in `/p2p/…`; tried side by side. Relays are trusted for nothing. */
  relays?: readonly string[];
  /** URLs of `/.well-known/tequio.json` files that name relays. They are trusted for addresses only. */
  wellKnown?: string | URL | readonly (string | URL)[];
  /**
   * STUN and TURN servers for paths between browsers, before those that the well-known files name. The credentials of those
   * of the files are renewed before they expire; for your own there is {@link TequioNode.setIceServers}. They are checked
   * and handed to the node; this version connects to relays only, so nothing goes through them yet.
   */
  iceServers?: readonly IceServer[];
  /** Name of the IndexedDB database for head and identity; each further tab gets its own. Default `tequio`. */
  store?: string;
  /** How this program names itself to peers. */
  agent?: string;
  /** Receives every event from the start on, also while connecting and if that fails. */
  onEvent?: (event: TequioEvent) => void;
  /** Gives up connecting, at once, with {@link AbortError}. */
  signal?: AbortSignal;
  /** Where `tequio_wasm_bg.wasm` lies, for bundlers that do not support `new URL(…, import.meta.url)`. The first call decides. */
  wasmUrl?: string | URL;
  /** Where the module `tequio/worker` lies, on the page's own origin, for the same bundlers. */
  workerUrl?: string | URL;
}

/** What `connect` takes from its surroundings; tests bring their own. @internal */
export interface Surroundings {
  /** What is missing here for a node, or null. */
  lacks(): string | null;
  secure(): boolean;
  origin(): string;
  load(urls: CodeUrls, report: Report): Promise<Loaded>;
  spawnWorker(urls: CodeUrls): WorkerLike;
  device(): Device;
  takeStore(base: string): Promise<StoreSlot | null>;
  clock: Clock;
  counters(): CounterStorage | null;
  watchViolations(heard: (violation: Violation) => void): () => void;
}

const NOWHERE: WayIn = { relays: [], ice: [] };
/** How long explicit relays wait for a well-known file, once the code is there. */
export const WELL_KNOWN_GRACE_MS = 2_000;

const browser: Surroundings = {
  lacks,
  secure: () => globalThis.isSecureContext !== false && globalThis.crypto?.subtle !== undefined,
  origin: () => globalThis.location?.origin ?? "this origin",
  load,
  spawnWorker,
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
  return connectWith(browser, options);
}

/** `connect` in given surroundings. @internal */
export async function connectWith(surroundings: Surroundings, options: ConnectOptions): Promise<TequioNode> {
  const policy = new PolicyWatch((heard) => surroundings.watchViolations(heard));
  const serverClock = new ServerClock(() => surroundings.clock.wallMs());
  try {
    const checked = checkOptions(options);
    throwIfAborted(checked.signal);
    const missing = surroundings.lacks();
    if (missing !== null) throw new UnsupportedError(missing);
    if (!surroundings.secure()) throw new InsecureOriginError(surroundings.origin());
    return await abortable(start(surroundings, options, checked, serverClock), checked.signal);
  } catch (error) {
    throw withClock(await policy.explain(fromBoundary(error)), serverClock, surroundings.clock);
  } finally {
    policy.stop();
  }
}

/** Starts a node; one that is not wanted any more when it has started is closed. */
async function start(
  surroundings: Surroundings,
  options: ConnectOptions,
  checked: Checked,
  serverClock: ServerClock,
): Promise<TequioNode> {
  const { signal, urls } = checked;
  const asked = findRelays(surroundings, checked, serverClock);
  // Whoever waits for the code first must not leave this failure unhandled.
  asked.catch(() => {});
  const loading = surroundings.load(urls, (progress) => guarded(() => options.onEvent?.({ type: "load", ...progress })));
  // The checkpoint travels beside the code, and waits for its hash function.
  const hasher = loading.then(({ wasm }) => wasm.hashBytes);
  const resolving = resolveCheckpoint(checked.checkpoint, hasher, signal, serverClock);
  resolving.catch(() => {});
  hasher.catch(() => {});
  const { wasm, module } = await loading;
  const found = await (checked.relays.length > 0 ? within(asked, WELL_KNOWN_GRACE_MS, NOWHERE) : asked);
  const checkpoint = await resolving;
  throwIfAborted(signal);
  const relays = [...checked.relays, ...ofNetwork(wasm.checkpointChain(checkpoint), found.relays)];
  if (relays.length === 0) throw otherNetwork(wasm.checkpointChain(checkpoint), found.relays);

  const slot = await surroundings.takeStore(checked.store);
  if (slot === null) throw new StorageError("too many tabs of this origin are nodes already; close one of them");
  const { clock } = surroundings;
  const node = new TequioNode({
    module,
    wasm,
    checkpoint,
    device: surroundings.device(),
    spawnWorker: () => surroundings.spawnWorker(urls),
    clock,
    meter: new DataMeter(clock, surroundings.counters(), slot.name),
    released: () => slot.release(),
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  });
  const ice = new IceServerList(checked.iceServers, found.ice, {
    clock,
    ask: readWellKnown,
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
 * The addresses of the relays that are of this network, or do not say of which they are. Data of
 * another network would not verify, so the node would report its relays as dishonest. The networks
 * that well-known files name are unproved: a false one can only keep this program from a relay.
 */
function ofNetwork(chain: string, relays: readonly Relay[]): string[] {
  return relays.filter((relay) => relay.chain === null || relay.chain === chain).map(({ address }) => address);
}

function otherNetwork(chain: string, relays: readonly Relay[]): CheckpointError {
  const named = [...new Set(relays.map((relay) => relay.chain))].join(", ");
  return new CheckpointError(
    "OTHER_NETWORK",
    `the checkpoint belongs to network ${chain}, but the well-known files name ${named}: take both from one network`,
  );
}

/** Where the network can be entered; with explicit relays, a file that cannot be read is no reason to stop. */
async function findRelays(surroundings: Surroundings, checked: Checked, serverClock: ServerClock): Promise<WayIn> {
  if (checked.wellKnown.length === 0) return NOWHERE;
  try {
    return await discover(checked.wellKnown, surroundings.clock, checked.signal, serverClock);
  } catch (error) {
    if (checked.relays.length > 0) return NOWHERE;
    throw error;
  }
}

/** The result of `work`, or `otherwise` if it takes longer than `ms`. */
async function within<T>(work: Promise<T>, ms: number, otherwise: T): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<T>((resolve) => (timer = setTimeout(() => resolve(otherwise), ms)));
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Adds to a checkpoint that is too old what the device's clock has to do with it. */
function withClock(error: TequioError, serverClock: ServerClock, clock: Clock): TequioError {
  if (error.code !== "STALE_CHECKPOINT") return error;
  const { offsetMs } = serverClock;
  const date = new Date(clock.wallMs()).toISOString().slice(0, 10);
  if (offsetMs === null || Math.abs(offsetMs) < OFFSET_MS_MIN) {
    const hint = offsetMs === null ? ` If this device's clock is wrong (it says ${date}), set it first.` : "";
    return new CheckpointError("STALE_CHECKPOINT", `${error.message}.${hint}`, error.cause, error.details);
  }
  const by = `${inWords(offsetMs)} ${offsetMs > 0 ? "ahead of" : "behind"}`;
  const message = `this device's clock says ${date}, ${by} the host of the page: set the clock first. By this clock, ${error.message}`;
  return new CheckpointError("STALE_CHECKPOINT", message, error.cause, { ...error.details, clockOffsetMs: offsetMs });
}

/** What a node needs beyond what every JavaScript has. Node has a WebSocket from version 22 on. */
function lacks(): string | null {
  const here = typeof document === "object" ? "this browser" : "this JavaScript runtime";
  if (typeof WebSocket !== "function") return `${here} has no WebSocket, by which relays are reached (Node has it from version 22 on)`;
  if (globalThis.isSecureContext === undefined && globalThis.crypto?.subtle === undefined) return `${here} has no WebCrypto`;
  return null;
}

type Checked = ReturnType<typeof checkOptions>;

function checkOptions(options: ConnectOptions) {
  const given = (options ?? {}) as Partial<ConnectOptions>;
  const checkpoint = checkCheckpoint(given.checkpoint);
  const relays = checkRelays(given.relays ?? []);
  const iceServers = checkIceServers(given.iceServers ?? []);
  const wellKnown = given.wellKnown === undefined ? [] : ([given.wellKnown].flat() as (string | URL)[]);
  if (!wellKnown.every(isUrl)) throw new OptionsError("wellKnown is a URL, or a list of URLs, of tequio.json files");
  if (relays.length === 0 && wellKnown.length === 0) {
    throw new OptionsError("connect() needs a way into the network: relays, or wellKnown with the URL of a tequio.json");
  }
  const { signal } = given;
  if (signal !== undefined && typeof signal.addEventListener !== "function") throw new OptionsError("signal is an AbortSignal");
  if (given.onEvent !== undefined && typeof given.onEvent !== "function") throw new OptionsError("onEvent is a function");
  if (given.agent !== undefined && typeof given.agent !== "string") throw new OptionsError("agent is a string");
  const urls = { ...checkUrl("wasmUrl", given.wasmUrl), ...checkUrl("workerUrl", given.workerUrl) };
  const store = given.store ?? "tequio";
  if (typeof store !== "string" || !/^[\w.-]{1,64}$/.test(store)) {
    throw new OptionsError("store is a name of 1 to 64 letters, digits, dots, dashes and underscores");
  }
  return { checkpoint, relays, wellKnown, iceServers, store, signal, urls };
}

function checkUrl<K extends keyof CodeUrls>(name: K, url: unknown): Pick<CodeUrls, K> | undefined {
  if (url === undefined) return undefined;
  if (!isUrl(url) || url === "") throw new OptionsError(`${name} is a URL`);
  return { [name]: url } as Pick<CodeUrls, K>;
}

/** Whether it is a URL, or one relative to the page. */
function isUrl(url: unknown): boolean {
  if (typeof url !== "string" && !(url instanceof URL)) return false;
  try {
    // Not URL.canParse, which Safari lacks before version 17.
    return Boolean(new URL(String(url), globalThis.location?.href ?? "http://localhost/"));
  } catch {
    return false;
  }
}
