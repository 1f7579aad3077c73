/** Fetches a small body with a limit on its bytes and on its time. */
import type { ServerClock } from "./server-clock.js";
import { deadline } from "./signals.js";

/** How long a host may take to begin its answer. */
const ANSWER_TIME_MS_MAX = 8_000;
/** How long the body may take after the answer has begun. */
const BODY_TIME_MS_MAX = 20_000;

/**
 * The body of `url`, at most `bytesMax` long. Throws a plain `Error`; callers give it a class.
 * `clock` receives the server's `Date`.
 */
export async function fetchCapped(
  url: string | URL,
  bytesMax: number,
  signal?: AbortSignal,
  clock?: ServerClock,
): Promise<Uint8Array> {
  const limit = deadline(ANSWER_TIME_MS_MAX, signal);
  try {
    const response = await fetch(url, {
      signal: limit.signal,
      credentials: "omit",
      cache: "no-cache",
    });
    limit.extend(BODY_TIME_MS_MAX);
    clock?.take(response.headers.get("date"));
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return await readCapped(response, bytesMax);
  } finally {
    limit.release();
  }
}

async function readCapped(response: Response, bytesMax: number): Promise<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return new Uint8Array();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > bytesMax) {
      await reader.cancel();
      throw new Error(`more than ${bytesMax} bytes`);
    }
    parts.push(value);
  }
  const body = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    body.set(part, offset);
    offset += part.length;
  }
  return body;
}
