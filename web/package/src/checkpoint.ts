/**
 * The checkpoint from which a node verifies everything. A program passes the bytes, or a URL with
 * the BLAKE3 hash of its content, so the file's host needs no trust.
 */
import { CheckpointError } from "./errors.js";
import { fetchCapped } from "./fetch.js";
import type { ServerClock } from "./server-clock.js";

/** The largest checkpoint file that is read. */
export const CHECKPOINT_BYTES_MAX = 1 << 20;

/** A checkpoint's URL with the hash of its content. */
export interface PinnedCheckpoint {
  /** URL of the file, on any host. */
  url: string | URL;
  /** BLAKE3 of the file, as 64 hexadecimal digits. */
  hash: string;
}

/** Checks the option's shape before anything is loaded. */
export function checkCheckpoint(checkpoint: unknown): Uint8Array | PinnedCheckpoint {
  if (checkpoint === undefined || checkpoint === null) {
    throw new CheckpointError(
      "CHECKPOINT_REQUIRED",
      "connect() needs a checkpoint: the bytes of the file that `tequio init` wrote, or " +
        "{ url, hash } with the file's BLAKE3 hash. Without one there is nothing to verify the " +
        "network against.",
    );
  }
  if (checkpoint instanceof Uint8Array) {
    if (checkpoint.length === 0 || checkpoint.length > CHECKPOINT_BYTES_MAX) {
      throw new CheckpointError(
        "BAD_CHECKPOINT",
        `a checkpoint has between 1 and ${CHECKPOINT_BYTES_MAX} bytes, not ${checkpoint.length}`,
      );
    }
    return checkpoint;
  }
  const { url, hash } = checkpoint as Partial<PinnedCheckpoint>;
  if (
    !(typeof url === "string" || url instanceof URL) ||
    typeof hash !== "string" ||
    !/^[0-9a-f]{64}$/i.test(hash)
  ) {
    throw new CheckpointError(
      "BAD_CHECKPOINT",
      "a checkpoint is a Uint8Array, or { url, hash } where hash is 64 hexadecimal digits " +
        "(BLAKE3 of the file)",
    );
  }
  return { url, hash: hash.toLowerCase() };
}

/** Fetches a pinned checkpoint and compares its hash. */
export async function resolveCheckpoint(
  checkpoint: Uint8Array | PinnedCheckpoint,
  hasher: Promise<(bytes: Uint8Array) => string>,
  signal?: AbortSignal,
  serverClock?: ServerClock,
): Promise<Uint8Array> {
  if (checkpoint instanceof Uint8Array) return checkpoint;
  let bytes: Uint8Array;
  try {
    bytes = await fetchCapped(checkpoint.url, CHECKPOINT_BYTES_MAX, signal, serverClock);
  } catch (error) {
    const { message } = error as Error;
    throw new CheckpointError(
      "CHECKPOINT_UNREACHABLE",
      `the checkpoint could not be fetched from ${checkpoint.url}: ${message}`,
      error,
    );
  }
  const hash = (await hasher)(bytes);
  if (hash !== checkpoint.hash) {
    throw new CheckpointError(
      "CHECKPOINT_MISMATCH",
      `the file at ${checkpoint.url} has BLAKE3 ${hash}, not the pinned ${checkpoint.hash}; ` +
        "it was refused",
    );
  }
  return bytes;
}
