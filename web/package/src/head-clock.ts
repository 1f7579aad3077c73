/**
 * How far the device's clock is from the chain's. A head carries the time at which
 * its block was proposed, and arrives a moment later. The median over some arrivals
 * is the offset; heads that arrive late one by one do not move it.
 */

/** Arrivals that the median is taken over. */
export const ARRIVALS_MAX = 9;
/** Arrivals before anything is claimed: the first head after a start may be an old one. */
export const ARRIVALS_MIN = 3;
/** A change of at least so much is told. */
export const OFFSET_CHANGE_MS = 2_000;

/** Collects arrivals and says how far the clock is off. */
export class HeadClock {
  readonly #wallMs: () => number;
  readonly #report: (offsetMs: number) => void;
  #offsets: number[] = [];
  #height = 0;
  #skipped = false;
  #offsetMs: number | null = null;
  #reported: number | null = null;

  constructor(wallMs: () => number, report: (offsetMs: number) => void) {
    this.#wallMs = wallMs;
    this.#report = report;
  }

  /** Milliseconds by which the device's clock is ahead of the chain's, negative where behind; null while unknown. */
  get offsetMs(): number | null {
    return this.#offsetMs;
  }

  /** Takes a head at the moment of its arrival. */
  take(head: { height: number; timeMs: number }): void {
    if (head.height <= this.#height) return;
    this.#height = head.height;
    // The first head is what was there before: its age says nothing about the clock.
    if (!this.#skipped) return void (this.#skipped = true);
    this.#offsets = [...this.#offsets, this.#wallMs() - head.timeMs].slice(-ARRIVALS_MAX);
    if (this.#offsets.length < ARRIVALS_MIN) return;
    const sorted = [...this.#offsets].sort((one, other) => one - other);
    const offsetMs = sorted[sorted.length >> 1] ?? 0;
    this.#offsetMs = offsetMs;
    if (this.#reported !== null && Math.abs(offsetMs - this.#reported) < OFFSET_CHANGE_MS) return;
    this.#reported = offsetMs;
    this.#report(offsetMs);
  }
}
