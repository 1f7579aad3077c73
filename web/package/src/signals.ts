/**
 * Abort signals: a deadline combined with the program's signal, and the typed error of an abort.
 * Safari lacks `AbortSignal.any` before version 17.4.
 */
import { AbortError } from "./errors.js";

/** A signal that aborts with the program's signal or after some time; call `release` when done. */
export interface Deadline {
  signal: AbortSignal;
  /** Restarts the time. */
  extend(ms: number): void;
  release(): void;
}

/** A signal that aborts with `signal`, or after `ms` with a `TimeoutError`. */
export function deadline(ms: number, signal?: AbortSignal): Deadline {
  const controller = new AbortController();
  const follow = () => controller.abort(signal?.reason);
  const arm = (ms: number) =>
    setTimeout(() => {
      controller.abort(new DOMException(`no answer within ${ms / 1_000} s`, "TimeoutError"));
    }, ms);
  let timer = arm(ms);
  if (signal?.aborted) follow();
  else signal?.addEventListener("abort", follow, { once: true });
  return {
    signal: controller.signal,
    extend(ms) {
      clearTimeout(timer);
      timer = arm(ms);
    },
    release() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", follow);
    },
  };
}

/** @throws {@link AbortError} if the signal is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortError(signal.reason);
}

/** Rejects with {@link AbortError} as soon as the signal is aborted; `work` itself continues. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(new AbortError(signal.reason));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
