/** Verifies the file that proves a contribution, without a network. */
import { fromBoundary } from "./errors.js";
import { load } from "./wasm-loader.js";
import type { WireContribution } from "./wasm-types.js";

/**
 * Verifies the bytes of {@link TequioNode.contributionProof} against a checkpoint that the caller
 * trusts: the handovers of the committee since then, the certificate of the block, the Merkle
 * proof of the job's entry, and the place of the contributor in it.
 *
 * @throws {@link VerificationError} if anything of it does not hold.
 */
export async function verifyContributionProof(bytes: Uint8Array, checkpoint: Uint8Array): Promise<WireContribution> {
  const { wasm } = await load();
  try {
    return wasm.verifyContribution(bytes, checkpoint);
  } catch (error) {
    throw fromBoundary(error);
  }
}
