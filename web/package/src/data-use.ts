/**
 * The bytes a node has transferred: in this visit, in the last minute, and today over all visits
 * and tabs of the origin. Each store slot has a counter of its own in localStorage, so that two
 * tabs never overwrite each other. Counters of other days are removed. Without localStorage,
 * "today" is this visit.
 */
import type { Clock } from "./ice-servers.js";

/** The bytes that a node has transferred. */
export interface DataUse {
  /** Bytes received in this visit. */
  received: number;
  /** Bytes sent in this visit. */
  sent: number;
  /** Bytes in both directions in the last minute. */
  perMinute: number;
  /** Bytes in both directions today, by all tabs and visits of this origin. */
  today: number;
  /** Bytes a day from which on the contribution pauses; null without a contribution. */
  capPerDay: number | null;
  /** Bytes at the end of the day at the rate of the last minute. */
  projectedToday: number;
}

/** Shortest time between two samples, and therefore between two `data` events. */
export const SAMPLE_INTERVAL_MS = 2_000;
/** Shortest time between two writes of the day's counter. */
export const WRITE_INTERVAL_MS = 10_000;
const WINDOW_MS = 60_000;
const DAY_MS = 86_400_000;
const PREFIX = "tequio-data:";

/** The part of `Storage` that the meter uses. */
export type CounterStorage = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;

interface Sample {
  atMs: number;
  bytes: number;
}

/** Measures the traffic of one node. */
export class DataMeter {
  readonly #clock: Clock;
  readonly #storage: CounterStorage | null;
  readonly #slot: string;
  #samples: Sample[] = [];
  #day: string;
  /** Bytes of this slot today, before this visit. */
  #todayBeforeVisit: number;
  /** Bytes of this visit on earlier days. */
  #beforeToday = 0;
  #total = 0;
  #received = 0;
  #sent = 0;
  #writtenMs = Number.NEGATIVE_INFINITY;

  /** `slot` is the name of this tab's store. No other tab counts under it. */
  constructor(clock: Clock, storage: CounterStorage | null, slot: string) {
    this.#clock = clock;
    this.#storage = storage;
    this.#slot = slot;
    this.#day = dayOf(clock.wallMs());
    this.#todayBeforeVisit = this.#read(this.#key());
    this.#removeOldDays();
  }

  /** Records the node's counters. */
  sample(received: number, sent: number): void {
    const atMs = this.#clock.monotonicMs();
    const day = dayOf(this.#clock.wallMs());
    if (day !== this.#day) {
      this.#write();
      this.#day = day;
      this.#beforeToday = this.#total;
      this.#todayBeforeVisit = 0;
      this.#removeOldDays();
    }
    this.#received = received;
    this.#sent = sent;
    this.#total = received + sent;
    this.#samples.push({ atMs, bytes: this.#total });
    while ((this.#samples[1]?.atMs ?? atMs) <= atMs - WINDOW_MS) this.#samples.shift();
    if (atMs - this.#writtenMs < WRITE_INTERVAL_MS) return;
    this.#writtenMs = atMs;
    this.#write();
  }

  /** The use so far. */
  use(capPerDay: number | null): DataUse {
    const today = this.#ownToday() + this.#otherTabsToday();
    const perMinute = this.#perMinute();
    const leftMs = DAY_MS - msOfDay(this.#clock.wallMs());
    const projectedToday = Math.round(today + (perMinute * leftMs) / 60_000);
    const { received, sent } = { received: this.#received, sent: this.#sent };
    return { received, sent, perMinute, today, capPerDay, projectedToday };
  }

  /** Writes the counter before the node ends. */
  close(): void {
    this.#write();
  }

  #ownToday(): number {
    return this.#todayBeforeVisit + this.#total - this.#beforeToday;
  }

  #perMinute(): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (!first || !last || last.atMs <= first.atMs) return 0;
    const scale = 60_000 / Math.max(last.atMs - first.atMs, WINDOW_MS / 4);
    return Math.round((last.bytes - first.bytes) * scale);
  }

  #otherTabsToday(): number {
    let bytes = 0;
    for (const key of this.#keys()) {
      if (key.startsWith(`${PREFIX}${this.#day}:`) && key !== this.#key()) bytes += this.#read(key);
    }
    return bytes;
  }

  #removeOldDays(): void {
    for (const key of this.#keys()) {
      if (key.startsWith(`${PREFIX}${this.#day}:`)) continue;
      try {
        this.#storage?.removeItem(key);
      } catch {
        return;
      }
    }
  }

  #keys(): string[] {
    try {
      const { length = 0 } = this.#storage ?? {};
      const keys = Array.from({ length }, (_, index) => this.#storage?.key(index) ?? "");
      return keys.filter((key) => key.startsWith(PREFIX));
    } catch {
      return [];
    }
  }

  #key(): string {
    return `${PREFIX}${this.#day}:${this.#slot}`;
  }

  #read(key: string): number {
    try {
      const bytes = Number(this.#storage?.getItem(key) ?? 0);
      return Number.isFinite(bytes) && bytes > 0 ? bytes : 0;
    } catch {
      return 0;
    }
  }

  #write(): void {
    try {
      this.#storage?.setItem(this.#key(), String(this.#ownToday()));
    } catch {
      // The storage is full or forbidden: the count of this visit continues in memory.
    }
  }
}

/** The browser's storage for counters, or null where it is missing or forbidden. */
export function counterStorage(): CounterStorage | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

/** The day in local time. */
function dayOf(wallMs: number): string {
  const date = new Date(wallMs);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

function msOfDay(wallMs: number): number {
  const date = new Date(wallMs);
  const midnight = new Date(date.getFullYear(), date.getMonth(), date.getDate());
  return Math.min(Math.max(wallMs - midnight.getTime(), 0), DAY_MS);
}
