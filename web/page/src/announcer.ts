/**
 * The page's only live region. It drops repeats and outdated texts, and leaves some seconds between
 * two announcements, so that it never floods a screen reader.
 */
import { h } from "./dom.js";

/** The shortest time between two announcements. */
const ANNOUNCE_INTERVAL_MS = 4_000;

/** Announces texts in a live region. */
export class Announcer {
  readonly element = h("div", {
    class: "visually-hidden",
    role: "status",
    "data-testid": "announcement",
  });
  /** The newest pending text of each topic. */
  readonly #waiting = new Map<string, string>();
  readonly #announced = new Map<string, string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastMs = -Infinity;

  /**
   * Announces a text after the interval; a newer text of the same topic replaces it. An empty text
   * ends the topic, so that the same text is announced again later.
   */
  announce(topic: string, text: string): void {
    this.#waiting.delete(topic);
    if (text === "") this.#announced.delete(topic);
    if (text === "" || this.#announced.get(topic) === text) return;
    this.#waiting.set(topic, text);
    if (this.#timer !== undefined) return;
    // A short delay combines texts that change together.
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
