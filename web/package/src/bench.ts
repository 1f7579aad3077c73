/** Measures the int8 kernel on this device, in a worker, as a contribution would run it. */
import { OptionsError, WorkerError } from "./errors.js";
import type { WireBench } from "./wasm-types.js";
import { compile, spawnWorker, type CodeUrls } from "./wasm-loader.js";

/** The result of {@link benchCompute}. */
export type ComputeBench = WireBench;

/**
 * Multiplies two n x n int8 matrices for about `ms` milliseconds in one worker.
 * Needs no network and no checkpoint. `urls` are those of {@link connect}.
 */
export async function benchCompute(
  n = 512,
  ms = 2_000,
  urls: CodeUrls = {},
): Promise<ComputeBench> {
  if (!Number.isInteger(n) || n < 1 || n > 4096) {
    throw new OptionsError("n must be an integer from 1 to 4096");
  }
  if (!(ms > 0 && ms <= 60_000)) throw new OptionsError("ms must be above 0 and at most 60000");
  const module = await compile(urls);
  const worker = spawnWorker(urls);
  try {
    return await new Promise<ComputeBench>((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.type === "ready") worker.postMessage({ type: "bench", n, ms });
        else if (data.type === "bench") resolve(data.result);
        else if (data.type === "broken") reject(new WorkerError(data.message));
      };
      worker.onerror = ({ message }) => {
        reject(new WorkerError(message || "the worker could not be started"));
      };
      worker.postMessage({ type: "init", module });
    });
  } finally {
    worker.terminate();
  }
}
