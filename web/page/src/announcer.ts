/**
 * The page's one live region. It speaks seldom: repeats and what is outdated are dropped, and
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
  /** The newest text of each topic that has not been spoken. */
  readonly #waiting = new Map<string, string>();
  readonly #spoken = new Map<string, string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastMs = -Infinity;

  /** Speaks a text when it is its turn; a newer text of the same topic replaces it. */
  say(topic: string, text: string): void {
    this.#waiting.delete(topic);
    if (text === "" || this.#spoken.get(topic) === text) return;
    this.#waiting.set(topic, text);
    if (this.#timer !== undefined) return;
    // A moment's rest, so that what changes together is spoken together.
    const waitMs = Math.max(300, this.#lastMs + ANNOUNCE_INTERVAL_MS - performance.now());
    this.#timer = setTimeout(() => this.#speak(), waitMs);
  }

  #speak(): void {
    this.#timer = undefined;
    if (this.#waiting.size === 0) return;
    this.#lastMs = performance.now();
    for (const [topic, text] of this.#waiting) this.#spoken.set(topic, text);
    this.element.textContent = [...this.#waiting.values()].join(" ");
    this.#waiting.clear();
  }
}
