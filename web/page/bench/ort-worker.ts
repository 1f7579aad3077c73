/** Measures onnxruntime-web's matrix product in a worker, on one thread. */
import * as ort from "onnxruntime-web/wasm";
import { matMulModel } from "./onnx.js";

export interface Task {
  kind: "int8" | "f32";
  n: number;
  ms: number;
}

export type Measured = { gmacs: number } | { error: string };

self.onmessage = async ({ data }: MessageEvent<Task>) => {
  try {
    self.postMessage({ gmacs: await measure(data) } satisfies Measured);
  } catch (error) {
    self.postMessage({ error: String(error) } satisfies Measured);
  }
};

async function measure({ kind, n, ms }: Task): Promise<number> {
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  // The second factor is part of the model, like weights, so the runtime may pack it once.
  const session = await ort.InferenceSession.create(matMulModel(kind, n), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  const size = n * n;
  const a =
    kind === "int8"
      ? new ort.Tensor(
          "uint8",
          Uint8Array.from({ length: size }, (_, index) => (index * 31) % 128),
          [n, n],
        )
      : new ort.Tensor(
          "float32",
          Float32Array.from({ length: size }, (_, index) => ((index * 31) % 128) / 64),
          [n, n],
        );
  for (let warm = 0; warm < 3; warm += 1) await session.run({ A: a });
  const start = performance.now();
  let runs = 0;
  while (performance.now() - start < ms) {
    await session.run({ A: a });
    runs += 1;
  }
  return (runs * n ** 3) / ((performance.now() - start) * 1e6);
}
