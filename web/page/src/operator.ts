/**
 * Reads the operator's name and URL from a relay's `tequio.json`. The page shows them as the
 * relay's own, unproved claim. Every field has a limit.
 */
import type { Operator } from "./state.js";

const FILE_BYTES_MAX = 65_536;
const NAME_LENGTH_MAX = 80;
const URL_LENGTH_MAX = 300;
const FETCH_TIMEOUT_MS = 15_000;

/** The operator in the first file that names one, or null. */
export async function fetchOperator(urls: readonly string[]): Promise<Operator | null> {
  for (const url of urls) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
      const text = response.ok ? await readCapped(response) : null;
      const operator = text === null ? null : parseOperator(text);
      if (operator !== null) return operator;
    } catch {
      // The package reports an unreadable file. The operator is unknown then.
    }
  }
  return null;
}

/** The text of a response, or null if it exceeds the limit. Nothing beyond the limit is read. */
export async function readCapped(response: Response): Promise<string | null> {
  const reader = response.body?.getReader();
  if (reader === undefined) return "";
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    length += value.length;
    if (length > FILE_BYTES_MAX) {
      await reader.cancel();
      return null;
    }
    text += decoder.decode(value, { stream: true });
  }
}

/** The operator in the text of a `tequio.json`, or null if it names none. */
export function parseOperator(text: string): Operator | null {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return null;
  }
  const given: unknown = (document as { operator?: unknown } | null)?.operator;
  if (typeof given !== "object" || given === null) return null;
  const { name, url } = given as { name?: unknown; url?: unknown };
  const operator = { name: nameOf(name), url: urlOf(url) };
  return operator.name === null && operator.url === null ? null : operator;
}

function nameOf(name: unknown): string | null {
  const text = typeof name === "string" ? name.trim() : "";
  return text === "" ? null : text.slice(0, NAME_LENGTH_MAX);
}

/** Only http and https URLs, because a link must not run code. */
function urlOf(url: unknown): string | null {
  if (typeof url !== "string" || url.length > URL_LENGTH_MAX) return null;
  if (!/^https?:\/\/\S+$/.test(url)) return null;
  try {
    return new URL(url).href;
  } catch {
    return null;
  }
}
