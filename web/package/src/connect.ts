/**
 * `connect()`: checks the options, then the origin, then finds relays and the
 * checkpoint, then starts the node. What a program did wrong is refused before
 * anything is loaded.
 */
import { checkCheckpoint, resolveCheckpoint, type PinnedCheckpoint } from "./checkpoint.js";
import { DataMeter, counterStorage, type CounterStorage } from "./data-use.js";
import { browserDevice, type Device } from "./device.js";
import { InsecureOriginError, OptionsError, StorageError, fromBoundary } from "./errors.js";
import type { TequioEvent } from "./events.js";
import { checkIceServers, type IceServer } from "./ice.js";
import { IceServerList, browserClock, type Clock } from "./ice-servers.js";
import { TequioNode } from "./node.js";
import type { WorkerLike } from "./pool.js";
import { checkRelays, discover, readWellKnown, type WayIn } from "./relays.js";
import { takeStore, type StoreSlot } from "./store-slot.js";
import { load, spawnWorker, type Loaded } from "./wasm-loader.js";

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
  /** Name of the IndexedDB data base for head and identity; each further tab gets its own. Default `tequio`. */
  store?: string;
  /** How this program names itself to peers. */
  agent?: string;
  /** Hears every event from the first moment on, also while connecting and if that fails. */
  onEvent?: (event: TequioEvent) => void;
  /** Gives up connecting. */
  signal?: AbortSignal;
}

/** What `connect` takes from its surroundings; tests bring their own. @internal */
export interface Surroundings {
  secure(): boolean;
  origin(): string;
  load(): Promise<Loaded>;
  spawnWorker(): WorkerLike;
  device(): Device;
  takeStore(base: string): Promise<StoreSlot | null>;
  clock: Clock;
  counters(): CounterStorage | null;
}

const NOWHERE: WayIn = { relays: [], ice: [] };

const browser: Surroundings = {
  secure: () => globalThis.isSecureContext && globalThis.crypto?.subtle !== undefined,
  origin: () => globalThis.location?.origin ?? "this origin",
  load,
  spawnWorker,
  device: browserDevice,
  takeStore,
  clock: browserClock,
  counters: counterStorage,
};

/**
 * Starts a light node in this page and connects it to the network.
 *
 * The node reads and verifies; it computes nothing until {@link TequioNode.contribute}.
 *
 * @throws {@link CheckpointError}, {@link OptionsError}, {@link InsecureOriginError},
 * {@link UnsupportedError}, {@link NetworkError}
 */
export function connect(options: ConnectOptions): Promise<TequioNode> {
  return connectWith(browser, options);
}

/** `connect` in given surroundings. @internal */
export async function connectWith(surroundings: Surroundings, options: ConnectOptions): Promise<TequioNode> {
  const checked = checkOptions(options);
  const { signal } = options;
  if (!surroundings.secure()) throw new InsecureOriginError(surroundings.origin());

  const [{ wasm, module }, found] = await Promise.all([
    surroundings.load(),
    checked.wellKnown.length > 0 ? discover(checked.wellKnown, surroundings.clock, signal).catch(keepIf(checked.relays.length > 0)) : NOWHERE,
  ]);
  const checkpoint = await resolveCheckpoint(checked.checkpoint, wasm.hashBytes, signal);
  signal?.throwIfAborted();

  const slot = await surroundings.takeStore(checked.store);
  if (slot === null) throw new StorageError("too many tabs of this origin are nodes already; close one of them");
  const node = new TequioNode({
    module,
    device: surroundings.device(),
    spawnWorker: () => surroundings.spawnWorker(),
    clock: surroundings.clock,
    meter: new DataMeter(surroundings.clock, surroundings.counters(), slot.name),
    released: () => slot.release(),
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  });
  const ice = new IceServerList(checked.iceServers, found.ice, {
    clock: surroundings.clock,
    ask: readWellKnown,
    apply: (servers) => node.applyIceServers(servers),
    warn: (message) => node.receive({ type: "log", level: "warn", message }),
  });
  try {
    const light = await wasm.LightNode.start(
      {
        checkpoint,
        relays: [...new Set([...checked.relays, ...found.relays])],
        store: slot.name,
        iceServers: ice.list(),
        ...(options.agent === undefined ? {} : { agent: options.agent }),
      },
      (event) => node.receive(event),
    );
    node.attach(light, ice);
  } catch (error) {
    await node.close();
    throw fromBoundary(error);
  }
  if (signal?.aborted) {
    await node.close();
    signal.throwIfAborted();
  }
  return node;
}

function checkOptions(options: ConnectOptions) {
  const given = (options ?? {}) as Partial<ConnectOptions>;
  const checkpoint = checkCheckpoint(given.checkpoint);
  const relays = checkRelays(given.relays ?? []);
  const iceServers = checkIceServers(given.iceServers ?? []);
  const wellKnown = given.wellKnown === undefined ? [] : [given.wellKnown].flat() as (string | URL)[];
  if (relays.length === 0 && wellKnown.length === 0) {
    throw new OptionsError("connect() needs a way into the network: relays, or wellKnown with the URL of a tequio.json");
  }
  const store = given.store ?? "tequio";
  if (typeof store !== "string" || !/^[\w.-]{1,64}$/.test(store)) {
    throw new OptionsError("store is a name of 1 to 64 letters, digits, dots, dashes and underscores");
  }
  return { checkpoint, relays, wellKnown, iceServers, store };
}

/** With explicit relays at hand, a well-known file that cannot be read is no reason to stop. */
function keepIf(others: boolean): (error: unknown) => WayIn {
  return (error) => {
    if (others) return NOWHERE;
    throw error;
  };
}
