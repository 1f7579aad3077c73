/**
 * Reads the operator's name and address from a relay's `tequio.json`. They are unproved, and
 * shown as what the relay says of itself. Every field has a cap.
 */
import type { Operator } from "./state.js";

const FILE_BYTES_MAX = 65_536;
const NAME_LENGTH_MAX = 80;
const URL_LENGTH_MAX = 300;
const FETCH_TIMEOUT_MS = 15_000;

/** The operator that the first of the files with one names, or null. */
export async function fetchOperator(urls: readonly string[]): Promise<Operator | null> {
  for (const url of urls) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
      const text = response.ok ? await readCapped(response) : null;
      const operator = text === null ? null : parseOperator(text);
      if (operator !== null) return operator;
    } catch {
      // The package reports a file that cannot be read; the operator is then unknown.
    }
  }
  return null;
}

/** The text of a response, or null if it is longer than the file may be: the rest is not read. */
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

/** Only web addresses: a link must not run code. */
function urlOf(url: unknown): string | null {
  if (typeof url !== "string" || url.length > URL_LENGTH_MAX) return null;
  if (!/^https?:\/\/\S+$/.test(url)) return null;
  try {
    return new URL(url).href;
  } catch {
    return null;
  }
}
