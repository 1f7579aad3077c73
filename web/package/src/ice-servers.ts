/**
 * The ICE servers that a running node uses: the program's own, then those that
 * well-known files name. The credentials of the latter expire. The files say
 * after how long, and are asked again after half of that; while nobody answers,
 * what is there stays until it has expired.
 */
import { ICE_SERVERS_MAX } from "./ice.js";
import type { WellKnown } from "./relays.js";
import type { WireIceServer } from "./wasm-types.js";

/** How often it is looked whether a file is to be asked again. */
export const LOOK_INTERVAL_MS = 15_000;
/** The longest pause after an attempt that failed. */
export const RETRY_MS_MAX = 10 * 60_000;

/** What time it is, and a timer; tests bring their own. */
export interface Clock {
  /** Never goes back, but may stand still while a computer sleeps. */
  monotonicMs(): number;
  /** Goes on then, but can be set. */
  wallMs(): number;
  /** Runs something again and again until the returned function is called. */
  every(ms: number, run: () => void): () => void;
}

/** The browser's. */
export const browserClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  every: (ms, run) => {
    const timer = setInterval(run, ms);
    return () => clearInterval(timer);
  },
};

/** A point in time by both clocks. */
interface Moment {
  monotonicMs: number;
  wallMs: number;
}

export function now(clock: Clock): Moment {
  return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
}

/** What a well-known file named when it was asked. */
export interface IceOffer {
  url: string | URL;
  servers: WireIceServer[];
  /** How long the credentials last; null if they do not expire. */
  lifetimeMs: number | null;
  asked: Moment;
}

/** What the list needs of its surroundings. */
export interface IceHost {
  clock: Clock;
  /** Asks a well-known file again. */
  ask(url: string | URL, signal: AbortSignal): Promise<WellKnown>;
  /** Hands the whole list to the node. */
  apply(servers: WireIceServer[]): void;
  /** Says what a person who debugs should know. */
  warn(message: string): void;
}

interface Source extends IceOffer {
  /** Failed attempts since the last answer, and when the latest was. */
  failures: number;
  failed: Moment;
}

export class IceServerList {
  #own: WireIceServer[];
  readonly #sources: Source[];
  readonly #host: IceHost;
  readonly #ended = new AbortController();
  /** The list that the node has. */
  #applied: string;
  #stopTimer: (() => void) | null = null;
  #looking = false;

  constructor(own: WireIceServer[], offers: readonly IceOffer[], host: IceHost) {
    this.#own = own;
    this.#host = host;
    this.#sources = offers.filter(({ servers }) => servers.length > 0).map((offer) => ({ ...offer, failures: 0, failed: offer.asked }));
    this.#applied = JSON.stringify(this.list());
  }

  /** The servers to use now; a node is started with them. */
  list(): WireIceServer[] {
    const offered = this.#sources.flatMap((source) => source.servers.filter((server) => server.credential === undefined || !this.#hasExpired(source)));
    return [...this.#own, ...offered].slice(0, ICE_SERVERS_MAX);
  }

  /** Keeps the credentials fresh from now on. */
  start(): void {
    if (!this.#sources.some(({ lifetimeMs }) => lifetimeMs !== null) || this.#ended.signal.aborted) return;
    this.#stopTimer ??= this.#host.clock.every(LOOK_INTERVAL_MS, () => void this.look());
  }

  /** Replaces the program's own servers. */
  setOwn(servers: WireIceServer[]): void {
    this.#own = servers;
    this.#apply();
  }

  /** Asks for what is due; one round at a time. */
  async look(): Promise<void> {
    if (this.#looking || this.#ended.signal.aborted) return;
    this.#looking = true;
    try {
      await Promise.all(this.#sources.filter((source) => this.#isDue(source)).map((source) => this.#renew(source)));
      if (!this.#ended.signal.aborted) this.#apply();
    } catch (error) {
      // Nobody waits for this round.
      this.#host.warn(`the node did not take the STUN and TURN servers: ${(error as Error).message}`);
    } finally {
      this.#looking = false;
    }
  }

  stop(): void {
    this.#ended.abort();
    this.#stopTimer?.();
    this.#stopTimer = null;
  }

  /** Hands the list over if it has changed: something was renewed, or has expired. */
  #apply(): void {
    const list = this.list();
    const text = JSON.stringify(list);
    if (text === this.#applied) return;
    this.#applied = text;
    this.#host.apply(list);
  }

  async #renew(source: Source): Promise<void> {
    const asked = now(this.#host.clock);
    try {
      const { iceServers, iceLifetimeS } = await this.#host.ask(source.url, this.#ended.signal);
      source.servers = iceServers;
      source.lifetimeMs = iceLifetimeS === null ? null : iceLifetimeS * 1_000;
      source.asked = asked;
      source.failures = 0;
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      source.failures += 1;
      source.failed = asked;
      this.#host.warn(`the STUN and TURN servers of ${String(source.url)} could not be renewed and will be asked for again: ${(error as Error).message}`);
    }
  }

  #isDue({ lifetimeMs, asked, failures, failed }: Source): boolean {
    if (lifetimeMs === null || this.#sinceMs(asked) < lifetimeMs / 2) return false;
    const pauseMs = failures === 0 ? 0 : Math.min(LOOK_INTERVAL_MS * 2 ** (failures - 1), RETRY_MS_MAX);
    return this.#sinceMs(failed) >= pauseMs;
  }

  #hasExpired({ lifetimeMs, asked }: Source): boolean {
    return lifetimeMs !== null && this.#sinceMs(asked) >= lifetimeMs;
  }

  /** By the clock that has gone further: one may have slept, the other may have been set back. */
  #sinceMs({ monotonicMs, wallMs }: Moment): number {
    const { clock } = this.#host;
    return Math.max(clock.monotonicMs() - monotonicMs, clock.wallMs() - wallMs);
  }
}
