/**
 * The file that proves a contribution: JSON with facts for people and the proof for programs. Its
 * verification needs a checkpoint, but no network. The facts must match those of the proof.
 */
import { OptionsError, VerificationError, fromBoundary } from "./errors.js";
import { load, type CodeUrls } from "./wasm-loader.js";
import type { WireContribution, WireModule } from "./wasm-types.js";

/** The file's format, and its version. */
const CONTRIBUTION_FORMAT = "tequio/contribution/1";
/** The largest file that is read. */
export const CONTRIBUTION_FILE_BYTES_MAX = 32 << 20;

/** Options of {@link verifyContributionProof}. */
export interface VerifyOptions extends CodeUrls {
  /**
   * The time for which to verify a file older than the network's trust period. Retired keys could
   * have forged such a file since then, unless you have had it all the time.
   */
  asOf?: Date;
}

/** Encodes the file. @internal */
export function encodeContribution(proof: Uint8Array, contribution: WireContribution): Uint8Array {
  const file = {
    format: CONTRIBUTION_FORMAT,
    about:
      "What a member did for a job, as the coordinator recorded and a quorum of validators " +
      "accepted. Verify it with verifyContributionProof() of the npm package tequio and a " +
      "checkpoint that you trust.",
    contribution,
    proof: toBase64(proof),
  };
  return new TextEncoder().encode(`${JSON.stringify(file, null, 2)}\n`);
}

/**
 * Verifies the bytes of {@link TequioNode.contributionProof} against a checkpoint file that the
 * caller trusts. It verifies the committee handovers since the checkpoint, the certificate of the
 * block, the Merkle proof of the job's entry, the contributor in that entry, and that the facts of
 * the file are those of the proof.
 *
 * @throws {@link VerificationError} if any check fails, {@link CheckpointError} if the checkpoint
 * is too old.
 */
export async function verifyContributionProof(
  bytes: Uint8Array,
  checkpoint: Uint8Array,
  options: VerifyOptions = {},
): Promise<WireContribution> {
  if (!(bytes instanceof Uint8Array) || !(checkpoint instanceof Uint8Array)) {
    throw new OptionsError("the proof and the checkpoint are the bytes of two files");
  }
  try {
    const { wasm } = await load(options);
    return verifyWith(wasm, bytes, checkpoint, options.asOf);
  } catch (error) {
    throw fromBoundary(error);
  }
}

/** Verifies the file with a loaded module. @internal */
export function verifyWith(
  wasm: WireModule,
  bytes: Uint8Array,
  checkpoint: Uint8Array,
  asOf?: Date,
): WireContribution {
  const { proof, contribution } = decode(bytes);
  const proved = wasm.verifyContribution(proof, checkpoint, asOf?.getTime());
  for (const [name, value] of Object.entries(contribution)) {
    if (proved[name as keyof WireContribution] !== value) {
      const text = String(value).slice(0, 80);
      throw bad(`the file says ${name} ${text}, which its proof does not`);
    }
  }
  return proved;
}

function decode(bytes: Uint8Array): { proof: Uint8Array; contribution: object } {
  if (bytes.length > CONTRIBUTION_FILE_BYTES_MAX) throw bad("the file is too large");
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const { format, contribution, proof } = JSON.parse(text) as Record<string, unknown>;
    const hasFields =
      typeof proof === "string" && typeof contribution === "object" && contribution !== null;
    if (format !== CONTRIBUTION_FORMAT || !hasFields) {
      throw new Error(`its format is not ${CONTRIBUTION_FORMAT}`);
    }
    return { proof: fromBase64(proof), contribution };
  } catch (error) {
    throw bad(`not the file of a contribution: ${(error as Error).message}`, error);
  }
}

function bad(message: string, cause?: unknown): VerificationError {
  return new VerificationError("BAD_OBJECT", message, cause);
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  // Engines limit the number of arguments of one call.
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
