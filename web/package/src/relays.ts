/**
 * Finds the relays by which a node enters the network. Addresses need no trust, because the node
 * verifies every answer. A well-known file is therefore only parsed and limited in size.
 */
import { NetworkError, OptionsError } from "./errors.js";
import { fetchCapped } from "./fetch.js";
import { usableIceServers } from "./ice.js";
import { now, type Clock, type IceFields, type IceOffer } from "./ice-servers.js";
import type { ServerClock } from "./server-clock.js";

/** The path of the file that relays serve. */
export const WELL_KNOWN_PATH = "/.well-known/tequio.json";
/** The largest well-known file that is read. */
const WELL_KNOWN_BYTES_MAX = 64 << 10;
/** The most relay addresses of a node. */
export const RELAYS_MAX = 32;
/** The longest multiaddress. */
const ADDRESS_CHARS_MAX = 512;

/** The shortest lifetime of credentials; shorter ones count as this. */
export const ICE_LIFETIME_S_MIN = 60;
/** The longest lifetime of credentials; longer ones count as this. */
export const ICE_LIFETIME_S_MAX = 30 * 24 * 60 * 60;

/** The content of a well-known file. */
export interface WellKnown extends IceFields {
  relays: string[];
  /** The chain id that the file names, unproved; null if it names none. */
  chain: string | null;
}

/** The relays and ICE servers of all well-known files. */
export interface Bootstrap {
  relays: Relay[];
  ice: IceOffer[];
}

/** A relay of a well-known file. */
export interface Relay {
  address: string;
  /** The chain id that its file names, unproved; null if it names none. */
  chain: string | null;
}

/** Checks the program's relay addresses. */
export function checkRelays(relays: readonly unknown[]): string[] {
  if (!Array.isArray(relays)) throw new OptionsError("relays is a list of multiaddresses");
  for (const relay of relays) {
    if (isAddress(relay)) continue;
    const text = String(relay).slice(0, 120);
    throw new OptionsError(`not a relay address (a multiaddress that ends in /p2p/…): ${text}`);
  }
  if (relays.length > RELAYS_MAX) throw new OptionsError(`at most ${RELAYS_MAX} relays`);
  return [...new Set(relays as string[])];
}

/** Reads the well-known files. One readable file with a relay suffices. */
export async function discover(
  urls: readonly (string | URL)[],
  clock: Clock,
  signal?: AbortSignal,
  serverClock?: ServerClock,
): Promise<Bootstrap> {
  // The time before the request, because a credential's lifetime begins with the answer.
  const fetched = now(clock);
  const read = async (url: string | URL) => ({
    url,
    ...(await readWellKnown(url, signal, serverClock)),
  });
  const answers = await Promise.allSettled(urls.map(read));
  const files = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
  const byAddress = new Map(
    files.flatMap(({ relays, chain }) =>
      relays.map((address) => [address, { address, chain }] as const),
    ),
  );
  const relays = [...byAddress.values()].slice(0, RELAYS_MAX);
  if (relays.length > 0) {
    const ice = files.map(({ url, iceServers, iceLifetimeS }) => ({
      url,
      servers: iceServers,
      lifetimeMs: iceLifetimeS === null ? null : iceLifetimeS * 1_000,
      fetched,
    }));
    return { relays, ice };
  }
  const failed = answers.find((answer) => answer.status === "rejected");
  const reason = failed ? (failed.reason as Error).message : "no relay address in it";
  const message = `no relay found through ${urls.map(String).join(", ")}: ${reason}`;
  throw new NetworkError("WELL_KNOWN", message, failed?.reason);
}

/** Reads one well-known file. */
export async function readWellKnown(
  url: string | URL,
  signal?: AbortSignal,
  serverClock?: ServerClock,
): Promise<WellKnown> {
  return parseWellKnown(await fetchCapped(url, WELL_KNOWN_BYTES_MAX, signal, serverClock));
}

/** The valid parts of a well-known file. Throws for a file of another version. */
export function parseWellKnown(bytes: Uint8Array): WellKnown {
  type Fields = Partial<Record<"version" | keyof WellKnown, unknown>>;
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  const value = JSON.parse(text) as Fields | null;
  if (value?.version !== 1 || !Array.isArray(value.relays)) {
    throw new Error("not a tequio.json of version 1");
  }
  return {
    relays: value.relays.filter(isAddress).slice(0, RELAYS_MAX),
    iceServers: usableIceServers(value.iceServers),
    iceLifetimeS: lifetimeS(value.iceLifetimeS),
    chain: chainOf(value.chain),
  };
}

/** The lifetime within its limits: it bounds the rate of requests, and fits a timer. */
function lifetimeS(value: unknown): number | null {
  if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) return null;
  return Math.min(Math.max(value, ICE_LIFETIME_S_MIN), ICE_LIFETIME_S_MAX);
}

function chainOf(value: unknown): string | null {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value) ? value : null;
}

function isAddress(value: unknown): value is string {
  if (typeof value !== "string" || value.length > ADDRESS_CHARS_MAX) return false;
  return /^\/[\x21-\x7e]+\/p2p\/[1-9A-HJ-NP-Za-km-z]+$/.test(value);
}
