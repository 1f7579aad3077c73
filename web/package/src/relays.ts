/**
 * Where the network can be entered. Addresses are not trusted: whoever answers
 * there must prove every answer. So a well-known file is only parsed and capped.
 */
import { NetworkError, OptionsError } from "./errors.js";
import { fetchCapped } from "./fetch.js";

/** The path of the file that relays serve. */
export const WELL_KNOWN_PATH = "/.well-known/tequio.json";
/** The largest well-known file that is read. */
export const WELL_KNOWN_BYTES_MAX = 64 << 10;
/** The most relay addresses that are used. */
export const RELAYS_MAX = 32;
/** The longest multiaddress. */
export const ADDRESS_CHARS_MAX = 512;

/** Checks addresses given by the program. */
export function checkRelays(relays: readonly unknown[]): string[] {
  for (const relay of relays) {
    if (!isAddress(relay)) throw new OptionsError(`not a relay address (a multiaddress that ends in /p2p/…): ${String(relay).slice(0, 120)}`);
  }
  if (relays.length > RELAYS_MAX) throw new OptionsError(`at most ${RELAYS_MAX} relays`);
  return [...new Set(relays as string[])];
}

/** The addresses that the given well-known files name; one file that can be read suffices. */
export async function discoverRelays(urls: readonly (string | URL)[], signal?: AbortSignal): Promise<string[]> {
  const answers = await Promise.allSettled(urls.map(async (url) => parseWellKnown(await fetchCapped(url, WELL_KNOWN_BYTES_MAX, signal))));
  const found = new Set<string>();
  for (const answer of answers) {
    if (answer.status === "fulfilled") for (const address of answer.value) found.add(address);
  }
  if (found.size > 0) return [...found].slice(0, RELAYS_MAX);
  const failed = answers.find((answer) => answer.status === "rejected");
  const reason = failed ? (failed.reason as Error).message : "no relay address in it";
  throw new NetworkError("WELL_KNOWN", `no relay found through ${urls.map(String).join(", ")}: ${reason}`, failed?.reason);
}

/** The usable addresses of a well-known file; a file of another version is refused. */
export function parseWellKnown(bytes: Uint8Array): string[] {
  const value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as { version?: unknown; relays?: unknown } | null;
  if (value?.version !== 1 || !Array.isArray(value.relays)) throw new Error("not a tequio.json of version 1");
  return value.relays.filter(isAddress).slice(0, RELAYS_MAX);
}

function isAddress(value: unknown): value is string {
  return typeof value === "string" && value.length <= ADDRESS_CHARS_MAX && /^\/[\x21-\x7e]+\/p2p\/[1-9A-HJ-NP-Za-km-z]+$/.test(value);
}
