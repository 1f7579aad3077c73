/**
 * A bounded queue that is read as an async iterable. It drops the oldest events of a slow reader
 * and reports their number.
 */
import { OptionsError } from "./errors.js";

/** Takes the place of events that were dropped because the reader was slower than the node. */
export interface DroppedEvent {
  type: "dropped";
  count: number;
}

/** The default capacity. */
const QUEUE_EVENTS_DEFAULT = 256;
/** The largest capacity. */
const QUEUE_EVENTS_MAX = 65_536;

/** A bounded queue of events with one reader. */
export class EventQueue<T> implements AsyncIterableIterator<T | DroppedEvent> {
  /** Called once when the reader or the writer ends the queue. */
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

  /** Appends an event. */
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

  /** Ends the queue. The queued events stay readable. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const reader of this.#waiting.splice(0)) reader({ done: true, value: undefined });
    this.onEnd();
  }

  /** The next event, once there is one. */
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

  /** Ends the queue and drops its events, as `break` in a `for await` loop does. */
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
