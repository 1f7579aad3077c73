/**
 * A bounded queue read as an async iterable. A reader that falls behind loses
 * the oldest events, never the page's memory, and is told how many it lost.
 */
import { OptionsError } from "./errors.js";

/** Stands where events were dropped because the reader was slower than the node. */
export interface DroppedEvent {
  type: "dropped";
  count: number;
}

/** Events kept for a reader that names no capacity of its own. */
export const QUEUE_EVENTS_DEFAULT = 256;
/** The most a reader can ask for. */
export const QUEUE_EVENTS_MAX = 65_536;

export class EventQueue<T> implements AsyncIterableIterator<T | DroppedEvent> {
  /** Called once when the queue ends, by whichever side ended it. */
  onEnd: () => void = () => {};

  readonly #capacity: number;
  #items: T[] = [];
  #dropped = 0;
  #ended = false;
  #waiting: ((result: IteratorResult<T | DroppedEvent>) => void)[] = [];

  constructor(capacity: number = QUEUE_EVENTS_DEFAULT) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > QUEUE_EVENTS_MAX) {
      throw new OptionsError(`capacity must be an integer from 1 to ${QUEUE_EVENTS_MAX}`);
    }
    this.#capacity = capacity;
  }

  push(item: T): void {
    if (this.#ended) return;
    const reader = this.#waiting.shift();
    if (reader) {
      reader({ done: false, value: item });
      return;
    }
    if (this.#items.length === this.#capacity) {
      this.#items.shift();
      this.#dropped += 1;
    }
    this.#items.push(item);
  }

  /** No more events; what is queued can still be read. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const reader of this.#waiting.splice(0)) reader({ done: true, value: undefined });
    this.onEnd();
  }

  next(): Promise<IteratorResult<T | DroppedEvent>> {
    if (this.#dropped > 0) {
      const count = this.#dropped;
      this.#dropped = 0;
      return Promise.resolve({ done: false, value: { type: "dropped", count } });
    }
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ done: false, value: item });
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Called by `break` in a `for await` loop. */
  return(): Promise<IteratorResult<T | DroppedEvent>> {
    this.#items = [];
    this.#dropped = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
