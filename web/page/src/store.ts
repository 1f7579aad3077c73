/** Holds the state and tells its readers, at most once per frame, that it has changed. */
import { initialState, type State } from "./state.js";

/** The longest a change waits for a frame. */
const FRAME_TIME_MS_MAX = 250;

export class Store {
  #state = initialState;
  #readers = new Set<(state: State) => void>();
  #scheduled = false;

  get state(): State {
    return this.#state;
  }

  update(step: (state: State) => State): void {
    const next = step(this.#state);
    if (next === this.#state) return;
    this.#state = next;
    this.refresh();
  }

  /** Draws again although nothing changed: the language or the theme did. */
  refresh(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const draw = () => {
      if (!this.#scheduled) return;
      this.#scheduled = false;
      for (const reader of this.#readers) reader(this.#state);
    };
    requestAnimationFrame(draw);
    // Frames stop while a page is hidden or covered, but what it says must still be true.
    setTimeout(draw, FRAME_TIME_MS_MAX);
  }

  subscribe(reader: (state: State) => void): void {
    this.#readers.add(reader);
    reader(this.#state);
  }
}
