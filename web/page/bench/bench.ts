/**
 * Compares the int8 kernel with onnxruntime-web on this device: the same matrix product, one after
 * the other, each on one thread in a worker of its own. The result is one JSON object, in the page
 * and as a line of the console.
 *
 * `?n=512&ms=2000` sets the size and the time of each measurement.
 */
import { benchCompute } from "tequio";
import type { Measured, Task } from "./ort-worker.js";

const query = new URLSearchParams(location.search);
const n = Number(query.get("n") ?? 512);
const ms = Number(query.get("ms") ?? 2_000);
const output = document.getElementById("result");

function ort(kind: Task["kind"]): Promise<number> {
  const worker = new Worker(new URL("./ort-worker.ts", import.meta.url), { type: "module" });
  return new Promise<number>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Measured>) => {
      if ("gmacs" in data) resolve(data.gmacs);
      else reject(new Error(data.error));
    };
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage({ kind, n, ms } satisfies Task);
  }).finally(() => worker.terminate());
}

const round = (value: number) => Math.round(value * 100) / 100;

try {
  const ours = await benchCompute(n, ms);
  const int8 = await ort("int8");
  const f32 = await ort("f32");
  const result = {
    kernel: ours.kernel,
    n,
    gmacs: round(ours.gmacs),
    peer: "onnxruntime-web (wasm, 1 thread)",
    peer_gmacs: round(int8),
    peer_f32_gmacs: round(f32),
    agent: navigator.userAgent,
  };
  const line = JSON.stringify(result);
  if (output) output.textContent = line;
  output?.setAttribute("data-done", "ok");
  console.log(line);
} catch (error) {
  if (output) output.textContent = String(error);
  output?.setAttribute("data-done", "failed");
  console.error(error);
}
