/**
 * Where this page takes its starting point and its relays from.
 *
 * The fragment carries the checkpoint's hash (`#checkpoint=<64 hex digits>`): it
 * never reaches a server, and it comes from whoever gave the person the link.
 * `?relay=` names other relays, as a multiaddress or as an origin that serves
 * `/.well-known/tequio.json`; without it this page's own origin is asked.
 */

/** What the address says; `checkpoint` is null where the link has no usable hash. */
export interface Place {
  checkpoint: { url: string; hash: string } | null;
  relays: string[];
  wellKnown: string[];
  /** The job to show, or null for the newest. */
  job: string | null;
}

const WELL_KNOWN_PATH = ".well-known/tequio.json";
/** Beside the page, so that a static host in any folder can offer it. */
const CHECKPOINT_PATH = "checkpoint.bin";

export function readPlace(href: string): Place {
  const url = new URL(href);
  const fragment = new URLSearchParams(url.hash.slice(1));
  const hash = fragment.get("checkpoint")?.trim().toLowerCase() ?? "";
  const relays: string[] = [];
  const wellKnown: string[] = [];
  for (const relay of url.searchParams.getAll("relay")) {
    if (relay.startsWith("/")) relays.push(relay);
    else if (/^https?:\/\//.test(relay)) wellKnown.push(new URL(relay.endsWith(".json") ? relay : `/${WELL_KNOWN_PATH}`, relay).href);
  }
  if (relays.length === 0 && wellKnown.length === 0) wellKnown.push(new URL(`/${WELL_KNOWN_PATH}`, url).href);
  return {
    checkpoint: /^[0-9a-f]{64}$/.test(hash) ? { url: new URL(CHECKPOINT_PATH, `${url.origin}${url.pathname}`).href, hash } : null,
    relays,
    wellKnown,
    job: fragment.get("job"),
  };
}
