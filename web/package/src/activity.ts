/**
 * The node's activity for a state line: off, waiting, computing, paused or disconnected, and its
 * start. It is derived from the peers, the heads, the units in the pool and the contribution. No
 * claim of a peer affects it.
 */
import type { Clock } from "./ice-servers.js";
import type { Activity, ContributionState, PauseReason, TequioEvent } from "./events.js";

/** Time without a unit after which a node counts as waiting. */
export const WAITING_AFTER_MS = 3_000;
/** The shortest time between two `activity` events that differ only in the rate. */
export const RATE_INTERVAL_MS = 5_000;
/** The window over which the rate is measured. */
const RATE_WINDOW_MS = 60_000;
/** Most finished units whose times are kept. */
const FINISHED_MAX = 10_000;

/** Follows the events of a node and reports each change of its activity. */
export class ActivityTracker {
  readonly #clock: Clock;
  readonly #report: (activity: Activity) => void;
  readonly #peers = new Set<string>();
  readonly #units = new Set<number>();
  #finished: number[] = [];
  #stale = false;
  #contribution: { state: ContributionState; reason?: PauseReason } = { state: "stopped" };
  #job: string | undefined;
  #busyMs = Number.NEGATIVE_INFINITY;
  /** Every unit that finished since then is in `#finished`, unless it left the window. */
  #countedSinceMs = 0;
  #reportedMs = Number.NEGATIVE_INFINITY;
  #current: Activity;

  constructor(clock: Clock, report: (activity: Activity) => void) {
    this.#clock = clock;
    this.#report = report;
    this.#current = { state: "disconnected", sinceMs: clock.wallMs(), reason: "noPeers" };
  }

  /** The activity now. */
  get current(): Activity {
    return this.#current;
  }

  /** Processes an event of the node. */
  take(event: TequioEvent): void {
    const now = this.#clock.monotonicMs();
    switch (event.type) {
      case "peer":
        if (event.connected) this.#peers.add(event.id);
        else this.#peers.delete(event.id);
        break;
      case "head":
        this.#stale = false;
        break;
      case "stale":
        this.#stale = true;
        break;
      case "unit":
        this.#units.add(event.computeId);
        this.#job = event.job;
        break;
      case "unitEnd":
        if (this.#units.delete(event.computeId)) this.#busyMs = now;
        if (event.ok) this.#finished.push(now);
        if (this.#finished.length > FINISHED_MAX) {
          // The list is complete from the dropped unit on.
          this.#countedSinceMs = this.#finished.shift() ?? now;
        }
        break;
      case "contribution": {
        const { state, reason } = event;
        const starts = state === "running" && this.#contribution.state !== "running";
        if (starts) this.#startRate(now);
        this.#contribution = reason === undefined ? { state } : { state, reason };
        break;
      }
      default:
        return;
    }
    this.update();
  }

  /** Recomputes the activity. Called regularly, because `waiting` begins without an event. */
  update(): void {
    const now = this.#clock.monotonicMs();
    const next = this.#derive(now);
    const { state, reason, job, unitsPerMinute, sinceMs } = this.#current;
    const same = next.state === state && next.reason === reason;
    if (same && next.job === job) {
      if (next.unitsPerMinute === unitsPerMinute) return;
      if (now - this.#reportedMs < RATE_INTERVAL_MS) return;
    }
    this.#reportedMs = now;
    this.#current = { ...next, sinceMs: same ? sinceMs : this.#clock.wallMs() };
    this.#report(this.#current);
  }

  #derive(now: number): Omit<Activity, "sinceMs"> {
    const { state, reason } = this.#contribution;
    if (this.#peers.size === 0) return { state: "disconnected", reason: "noPeers" };
    if (state === "paused") return { state, ...(reason === undefined ? {} : { reason }) };
    const busy = this.#units.size > 0 || now - this.#busyMs < WAITING_AFTER_MS;
    if (state === "running" && busy) return this.#computing(now);
    if (this.#stale) return { state: "disconnected", reason: "noQuorum" };
    return { state: state === "running" ? "waiting" : "off" };
  }

  /** Restarts the rate: units of the time before the contribution do not count. */
  #startRate(now: number): void {
    this.#finished = [];
    this.#countedSinceMs = now;
  }

  #computing(now: number): Omit<Activity, "sinceMs"> {
    this.#finished = this.#finished.filter((at) => now - at < RATE_WINDOW_MS);
    const window = Math.min(RATE_WINDOW_MS, now - this.#countedSinceMs);
    // A window below five seconds gives no useful rate.
    const rate = Math.round((this.#finished.length * 60_000) / Math.max(window, RATE_INTERVAL_MS));
    const job = this.#job === undefined ? {} : { job: this.#job };
    return { state: "computing", unitsPerMinute: rate, ...job };
  }
}
