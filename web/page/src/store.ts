/**
 * Holds the state and notifies its readers of changes in batches: at most twice a second, in an
 * animation frame, so that a busy node takes little of the page's thread.
 */
import { initialState, type State } from "./state.js";

/** Shortest time between two batches. The person's actions do not wait for it. */
const BATCH_INTERVAL_MS = 500;
/** Longest time that a batch waits for a frame, because frames stop while a page is hidden. */
const FRAME_TIME_MS_MAX = 250;

/** A reader; `appearance` counts the changes of language and colours. */
export type Reader = (state: State, appearance: number) => void;

/** Holds the state. */
export class Store {
  #state = initialState;
  #appearance = 0;
  #readers = new Set<Reader>();
  #lastMs = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #framed = false;

  get state(): State {
    return this.#state;
  }

  /** Replaces the state; `urgent` for an action of the person. */
  update(step: (state: State) => State, urgent = false): void {
    const next = step(this.#state);
    if (next === this.#state) return;
    this.#state = next;
    this.#schedule(urgent);
  }

  /** Draws everything again: the language or the colours have changed. */
  refresh(): void {
    this.#appearance += 1;
    this.#schedule(true);
  }

  /** Calls `reader` now and after every batch of changes. */
  subscribe(reader: Reader): void {
    this.#readers.add(reader);
    reader(this.#state, this.#appearance);
  }

  #schedule(urgent: boolean): void {
    if (this.#framed) return;
    const waitMs = urgent ? 0 : this.#lastMs + BATCH_INTERVAL_MS - performance.now();
    if (this.#timer !== undefined) {
      if (waitMs > 0) return;
      clearTimeout(this.#timer);
    }
    if (waitMs <= 0) return this.#frame();
    this.#timer = setTimeout(() => this.#frame(), waitMs);
  }

  #frame(): void {
    this.#timer = undefined;
    this.#framed = true;
    const draw = () => {
      if (!this.#framed) return;
      this.#framed = false;
      clearTimeout(fallback);
      this.#lastMs = performance.now();
      for (const reader of this.#readers) reader(this.#state, this.#appearance);
    };
    const fallback = setTimeout(draw, FRAME_TIME_MS_MAX);
    requestAnimationFrame(draw);
  }
}
