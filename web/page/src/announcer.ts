/**
 * The page's one live region. It changes seldom: repeats and outdated texts are dropped, and
 * two announcements are apart by some seconds, so that a screen reader is never flooded.
 */
import { h } from "./dom.js";

/** The shortest time between two announcements. */
export const ANNOUNCE_INTERVAL_MS = 4_000;

export class Announcer {
  readonly element = h("div", {
    class: "visually-hidden",
    role: "status",
    "data-testid": "announcement",
  });
  /** The newest text of each topic that waits for its turn. */
  readonly #waiting = new Map<string, string>();
  readonly #announced = new Map<string, string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastMs = -Infinity;

  /**
   * Announces a text when it is its turn; a newer text of the same topic replaces it. An empty text
   * ends the topic, so that the same text is news again.
   */
  announce(topic: string, text: string): void {
    this.#waiting.delete(topic);
    if (text === "") this.#announced.delete(topic);
    if (text === "" || this.#announced.get(topic) === text) return;
    this.#waiting.set(topic, text);
    if (this.#timer !== undefined) return;
    // A short delay, so that what changes together is announced together.
    const waitMs = Math.max(300, this.#lastMs + ANNOUNCE_INTERVAL_MS - performance.now());
    this.#timer = setTimeout(() => this.#publish(), waitMs);
  }

  #publish(): void {
    this.#timer = undefined;
    if (this.#waiting.size === 0) return;
    this.#lastMs = performance.now();
    for (const [topic, text] of this.#waiting) this.#announced.set(topic, text);
    this.element.textContent = [...this.#waiting.values()].join(" ");
    this.#waiting.clear();
  }
}
