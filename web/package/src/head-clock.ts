/**
 * The offset of the device's clock from the chain's. A head carries the time at which its block was
 * proposed, and arrives a moment later. The offset is the median over some arrivals. A head counts
 * only if it arrived as long after the previous one as their blocks are apart. Old heads during a
 * sync and late heads do not count.
 */
import type { Clock } from "./ice-servers.js";

/** The most arrivals of the median. */
const ARRIVALS_MAX = 9;
/** The fewest arrivals that give an offset. */
const ARRIVALS_MIN = 3;
/** The largest difference between the distance of two arrivals and that of their blocks. */
const JITTER_MS_MAX = 3_000;
/** The smallest change that is reported. */
const OFFSET_CHANGE_MS = 2_000;

/** Collects arrivals and reports the offset of the device's clock. */
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

  /** Milliseconds by which the device's clock is ahead of the chain's; null while unknown. */
  get offsetMs(): number | null {
    return this.#offsetMs;
  }

  /** Records a head at its arrival. */
  take({ height, timeMs }: { height: number; timeMs: number }): void {
    const last = this.#last;
    if (last !== null && height <= last.height) return;
    const arrivedMs = this.#clock.monotonicMs();
    this.#last = { height, timeMs, arrivedMs };
    if (last === null) return;
    const jitterMs = arrivedMs - last.arrivedMs - (timeMs - last.timeMs);
    if (Math.abs(jitterMs) > JITTER_MS_MAX) return;
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
