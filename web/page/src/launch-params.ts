/**
 * Reads the checkpoint and the relays from the page's address.
 *
 * The fragment carries the checkpoint's hash (`#checkpoint=<64 hex digits>`). It never reaches a
 * server: the person trusts the source of the link. `?relay=` names other relays, as a multiaddress
 * or as an origin that serves `/.well-known/tequio.json`. Without it the page's own origin serves
 * that file.
 */

/** The parameters of the address; `checkpoint` is null if the link has no valid hash. */
export interface LaunchParams {
  checkpoint: { url: string; hash: string } | null;
  relays: string[];
  wellKnown: string[];
  /** The job to show, or null for the newest. */
  job: string | null;
}

const WELL_KNOWN_PATH = ".well-known/tequio.json";
/** The checkpoint is beside the page, so that a static host can serve both from any folder. */
const CHECKPOINT_PATH = "checkpoint.bin";

/** Parses the page's address. */
export function readLaunchParams(href: string): LaunchParams {
  const url = new URL(href);
  const fragment = new URLSearchParams(url.hash.slice(1));
  const hash = fragment.get("checkpoint")?.trim().toLowerCase() ?? "";
  const relays: string[] = [];
  const wellKnown: string[] = [];
  for (const relay of url.searchParams.getAll("relay")) {
    if (relay.startsWith("/")) {
      relays.push(relay);
    } else if (/^https?:\/\//.test(relay)) {
      const path = relay.endsWith(".json") ? relay : `/${WELL_KNOWN_PATH}`;
      wellKnown.push(new URL(path, relay).href);
    }
  }
  if (relays.length === 0 && wellKnown.length === 0) {
    wellKnown.push(new URL(`/${WELL_KNOWN_PATH}`, url).href);
  }
  return {
    checkpoint: /^[0-9a-f]{64}$/.test(hash)
      ? { url: new URL(CHECKPOINT_PATH, `${url.origin}${url.pathname}`).href, hash }
      : null,
    relays,
    wellKnown,
    job: fragment.get("job"),
  };
}
