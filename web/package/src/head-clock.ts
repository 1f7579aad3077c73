/**
 * How far the device's clock is from the chain's. A head carries the time at which
 * its block was proposed, and arrives a moment later. The median over some arrivals
 * is the offset. Only heads count that arrived as long after the one before as their
 * blocks are apart: old heads that a node catches up with, and late ones, do not.
 */
import type { Clock } from "./ice-servers.js";

/** Arrivals that the median is taken over. */
export const ARRIVALS_MAX = 9;
/** Arrivals before anything is claimed. */
export const ARRIVALS_MIN = 3;
/** Two heads may arrive so much closer or further apart than their blocks are. */
export const JITTER_MS_MAX = 3_000;
/** The smallest change that is reported. */
export const OFFSET_CHANGE_MS = 2_000;

/** Collects arrivals and says how far the clock is off. */
export class HeadClock {
  readonly #clock: Pick<Clock, "monotonicMs" | "wallMs">;
  readonly #report: (offsetMs: number) => void;
  #offsets: number[] = [];
  #last: { height: number; timeMs: number; arrivedMs: number } | null = null;
  #offsetMs: number | null = null;
  #reported: number | null = null;

  constructor(clock: Pick<Clock, "monotonicMs" | "wallMs">, report: (offsetMs: number) => void) {
    this.#clock = clock;
    this.#report = report;
  }

  /** Milliseconds by which the device's clock is ahead of the chain's, negative where behind; null while unknown. */
  get offsetMs(): number | null {
    return this.#offsetMs;
  }

  /** Takes a head at the moment of its arrival. */
  take({ height, timeMs }: { height: number; timeMs: number }): void {
    const last = this.#last;
    if (last !== null && height <= last.height) return;
    const arrivedMs = this.#clock.monotonicMs();
    this.#last = { height, timeMs, arrivedMs };
    if (last === null || Math.abs(arrivedMs - last.arrivedMs - (timeMs - last.timeMs)) > JITTER_MS_MAX) return;
    this.#offsets = [...this.#offsets, this.#clock.wallMs() - timeMs].slice(-ARRIVALS_MAX);
    if (this.#offsets.length < ARRIVALS_MIN) return;
    const sorted = [...this.#offsets].sort((one, other) => one - other);
    const offsetMs = sorted[sorted.length >> 1] ?? 0;
    this.#offsetMs = offsetMs;
    if (this.#reported !== null && Math.abs(offsetMs - this.#reported) < OFFSET_CHANGE_MS) return;
    this.#reported = offsetMs;
    this.#report(offsetMs);
  }
}
