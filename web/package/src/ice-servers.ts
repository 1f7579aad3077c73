/**
 * The ICE servers of a running node: the program's own, then those of the well-known files. The
 * files' credentials expire after the lifetime that the file states. The list fetches a file again
 * after half of that lifetime. If the fetch fails, the credentials stay in use until they expire.
 */
import { ICE_SERVERS_MAX } from "./ice.js";
import type { WireIceServer } from "./wasm-types.js";

/** How often the list checks whether a file is due. */
export const CHECK_INTERVAL_MS = 15_000;
/** The longest pause after a failed attempt. */
export const RETRY_MS_MAX = 10 * 60_000;

/** Two clocks and a timer. Tests replace them. */
export interface Clock {
  /** Never goes back, but may stand still while the computer sleeps. */
  monotonicMs(): number;
  /** Continues while the computer sleeps, but can be set. */
  wallMs(): number;
  /** Calls `run` every `ms` milliseconds until the returned function is called. */
  every(ms: number, run: () => void): () => void;
}

/** The browser's clocks and timer. */
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

/** The current time by both clocks. */
export function now(clock: Clock): Moment {
  return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
}

/** The ICE servers of a well-known file, and when it was fetched. */
export interface IceOffer {
  url: string | URL;
  servers: WireIceServer[];
  /** How long the credentials last; null if they do not expire. */
  lifetimeMs: number | null;
  fetched: Moment;
}

/** The ICE servers in the content of a well-known file. */
export interface IceFields {
  iceServers: WireIceServer[];
  /** How long the credentials last from now on; null if they do not expire. */
  iceLifetimeS: number | null;
}

/** The environment of the list. */
export interface IceHost {
  clock: Clock;
  /** Fetches a well-known file again. */
  fetchWellKnown(url: string | URL, signal: AbortSignal): Promise<IceFields>;
  /** Passes the whole list to the node. */
  apply(servers: WireIceServer[]): void;
  /** Logs a warning for debugging. */
  warn(message: string): void;
}

interface Source extends IceOffer {
  /** Failed attempts since the last answer. */
  failures: number;
  /** When the latest attempt failed. */
  failed: Moment;
}

/** Holds the servers and renews their credentials. */
export class IceServerList {
  #own: WireIceServer[];
  readonly #sources: Source[];
  readonly #host: IceHost;
  readonly #ended = new AbortController();
  /** The list that the node has. */
  #applied: string;
  #stopTimer: (() => void) | null = null;
  #renewing = false;

  constructor(own: WireIceServer[], offers: readonly IceOffer[], host: IceHost) {
    this.#own = own;
    this.#host = host;
    this.#sources = offers
      .filter(({ servers }) => servers.length > 0)
      .map((offer) => ({ ...offer, failures: 0, failed: offer.fetched }));
    this.#applied = JSON.stringify(this.list());
  }

  /** The servers to use now, also at the start of a node. */
  list(): WireIceServer[] {
    const offered = this.#sources.flatMap((source) => {
      const hasExpired = this.#hasExpired(source);
      return source.servers.filter(({ credential }) => credential === undefined || !hasExpired);
    });
    return [...this.#own, ...offered].slice(0, ICE_SERVERS_MAX);
  }

  /** Renews the credentials from now on. */
  start(): void {
    const expires = this.#sources.some(({ lifetimeMs }) => lifetimeMs !== null);
    if (!expires || this.#ended.signal.aborted) return;
    this.#stopTimer ??= this.#host.clock.every(CHECK_INTERVAL_MS, () => void this.renewDue());
  }

  /** Replaces the program's own servers. */
  setOwn(servers: WireIceServer[]): void {
    this.#own = servers;
    this.#apply();
  }

  /** Fetches the files that are due; one round at a time. */
  async renewDue(): Promise<void> {
    if (this.#renewing || this.#ended.signal.aborted) return;
    this.#renewing = true;
    try {
      const due = this.#sources.filter((source) => this.#isDue(source));
      await Promise.all(due.map((source) => this.#renew(source)));
      if (!this.#ended.signal.aborted) this.#apply();
    } catch (error) {
      // No caller awaits this round.
      this.#host.warn(
        `the node did not take the STUN and TURN servers: ${(error as Error).message}`,
      );
    } finally {
      this.#renewing = false;
    }
  }

  /** Ends the renewal permanently. */
  stop(): void {
    this.#ended.abort();
    this.#stopTimer?.();
    this.#stopTimer = null;
  }

  /** Passes the list to the node if a renewal or an expiry has changed it. */
  #apply(): void {
    const list = this.list();
    const text = JSON.stringify(list);
    if (text === this.#applied) return;
    this.#applied = text;
    this.#host.apply(list);
  }

  async #renew(source: Source): Promise<void> {
    const fetched = now(this.#host.clock);
    const { signal } = this.#ended;
    try {
      const { iceServers, iceLifetimeS } = await this.#host.fetchWellKnown(source.url, signal);
      source.servers = iceServers;
      source.lifetimeMs = iceLifetimeS === null ? null : iceLifetimeS * 1_000;
      source.fetched = fetched;
      source.failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      source.failures += 1;
      source.failed = fetched;
      this.#host.warn(
        `the STUN and TURN servers of ${String(source.url)} could not be renewed and will be ` +
          `requested again: ${(error as Error).message}`,
      );
    }
  }

  #isDue({ lifetimeMs, fetched, failures, failed }: Source): boolean {
    if (lifetimeMs === null || this.#sinceMs(fetched) < lifetimeMs / 2) return false;
    if (failures === 0) return true;
    const pauseMs = Math.min(CHECK_INTERVAL_MS * 2 ** (failures - 1), RETRY_MS_MAX);
    return this.#sinceMs(failed) >= pauseMs;
  }

  #hasExpired({ lifetimeMs, fetched }: Source): boolean {
    return lifetimeMs !== null && this.#sinceMs(fetched) >= lifetimeMs;
  }

  /** The larger elapsed time: the monotonic clock may stand still, the wall clock be set back. */
  #sinceMs({ monotonicMs, wallMs }: Moment): number {
    const { clock } = this.#host;
    return Math.max(clock.monotonicMs() - monotonicMs, clock.wallMs() - wallMs);
  }
}
