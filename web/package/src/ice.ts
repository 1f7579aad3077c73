/**
 * STUN and TURN servers, by which two browsers find a path to each other. They carry packets that
 * are encrypted end to end, and learn their users' addresses. The limits are those of the Rust side
 * (`tequio_webrtc::check_ice_servers`).
 */
import { OptionsError } from "./errors.js";
import type { WireIceServer } from "./wasm-types.js";

/** The most servers of a node. */
export const ICE_SERVERS_MAX = 8;
/** The most URLs of one server. */
const ICE_URLS_MAX = 4;
/** The longest URL, user name and credential, in bytes. */
export const ICE_TEXT_BYTES_MAX = 512;

/** A STUN or TURN server, like the browser's `RTCIceServer`. */
export interface IceServer {
  /** `stun:host:port`, `turn:host:port?transport=udp`, ... */
  urls: string | readonly string[];
  /** User name for a TURN server. */
  username?: string;
  /** Credential for a TURN server. */
  credential?: string;
}

/** Checks servers given by the program. */
export function checkIceServers(servers: readonly unknown[]): WireIceServer[] {
  if (!Array.isArray(servers)) throw new OptionsError("iceServers is a list");
  if (servers.length > ICE_SERVERS_MAX) {
    throw new OptionsError(`at most ${ICE_SERVERS_MAX} ICE servers`);
  }
  return servers.map((server, index) => {
    const usable = iceServer(server);
    if (usable !== null) return usable;
    // The message does not show the server, because it carries a credential.
    throw new OptionsError(
      `iceServers[${index}] is not a STUN or TURN server with 1 to ${ICE_URLS_MAX} URLs, and for ` +
        "TURN a username and a credential",
    );
  });
}

/** The valid servers of an untrusted list. */
export function usableIceServers(value: unknown): WireIceServer[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, ICE_SERVERS_MAX).flatMap((server) => iceServer(server) ?? []);
}

/** The server in the boundary's form, or null if it is invalid. */
function iceServer(value: unknown): WireIceServer | null {
  if (typeof value !== "object" || value === null) return null;
  const { urls: given, username, credential } = value as Partial<Record<keyof IceServer, unknown>>;
  const urls: unknown[] = Array.isArray(given) ? given : [given];
  if (urls.length === 0 || urls.length > ICE_URLS_MAX || !urls.every(isUrl)) return null;
  if (username !== undefined && !isText(username)) return null;
  if (credential !== undefined && !isText(credential)) return null;
  const isTurn = urls.some((url) => url.startsWith("turn"));
  if (isTurn && (username === undefined || credential === undefined)) return null;
  return {
    urls,
    ...(username === undefined ? {} : { username }),
    ...(credential === undefined ? {} : { credential }),
  };
}

function isUrl(value: unknown): value is string {
  return isText(value) && /^(?:stun|turn)s?:[\x21-\x7e]+$/.test(value);
}

function isText(value: unknown): value is string {
  if (typeof value !== "string" || value.length > ICE_TEXT_BYTES_MAX) return false;
  return new TextEncoder().encode(value).length <= ICE_TEXT_BYTES_MAX;
}
