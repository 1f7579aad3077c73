/**
 * The device's clock against the `Date` header of the hosts that a start fetches
 * from. It decides nothing: it only tells whether a checkpoint looks old because
 * the device's clock is wrong. Browsers show the header on the page's own origin,
 * and elsewhere where the host exposes it.
 */

/** An offset below this is no explanation: the header has seconds, and travels. */
export const OFFSET_MS_MIN = 60_000;

/** Remembers how far the device's clock is from the hosts'. */
export class ServerClock {
  readonly #wallMs: () => number;
  #offsets: number[] = [];

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  /** Takes a response's `Date` header at its arrival. */
  take(header: string | null): void {
    const dateMs = header === null ? Number.NaN : Date.parse(header);
    if (Number.isFinite(dateMs) && this.#offsets.length < 16) this.#offsets.push(this.#wallMs() - dateMs);
  }

  /** Milliseconds by which the device is ahead; null if no host said its time. The smallest of all. */
  get offsetMs(): number | null {
    return this.#offsets.reduce<number | null>(
      (best, offset) => (best === null || Math.abs(offset) < Math.abs(best) ? offset : best),
      null,
    );
  }
}

/** A duration in words: "40 days", "3 hours", "15 seconds". */
export function inWords(ms: number): string {
  const seconds = Math.round(Math.abs(ms) / 1_000);
  const units: [number, string][] = [[86_400, "day"], [3_600, "hour"], [60, "minute"], [1, "second"]];
  const [size, name] = units.find(([size]) => seconds >= 2 * size) ?? [1, "second"];
  const count = Math.round(seconds / size);
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}
