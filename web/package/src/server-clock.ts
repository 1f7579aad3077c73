/**
 * The offset of the device's clock from the `Date` header of the hosts from which a start fetches.
 * It only explains whether a checkpoint looks old because the device's clock is wrong. Browsers
 * show the header on the page's own origin, and elsewhere if the host exposes it.
 */

/** The smallest offset that explains a failure: the header has whole seconds and a delay. */
export const OFFSET_MS_MIN = 60_000;

/** Collects the offsets of the device's clock from the hosts' clocks. */
export class ServerClock {
  readonly #wallMs: () => number;
  #offsets: number[] = [];

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  /** Records a response's `Date` header at its arrival. */
  take(header: string | null): void {
    const dateMs = header === null ? Number.NaN : Date.parse(header);
    if (!Number.isFinite(dateMs) || this.#offsets.length >= 16) return;
    this.#offsets.push(this.#wallMs() - dateMs);
  }

  /** The smallest offset, in milliseconds by which the device is ahead; null without a header. */
  get offsetMs(): number | null {
    return this.#offsets.reduce<number | null>(
      (best, offset) => (best === null || Math.abs(offset) < Math.abs(best) ? offset : best),
      null,
    );
  }
}

/** A duration in words: "40 days", "3 hours", "15 seconds". */
export function formatDuration(ms: number): string {
  const seconds = Math.round(Math.abs(ms) / 1_000);
  const units: [number, string][] = [
    [86_400, "day"],
    [3_600, "hour"],
    [60, "minute"],
    [1, "second"],
  ];
  const [size, name] = units.find(([size]) => seconds >= 2 * size) ?? [1, "second"];
  const count = Math.round(seconds / size);
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}
