/**
 * Entry of a compute worker: receives the compiled module once, then units. It uses no network and
 * no storage; a unit's result is a pure function of its input.
 */
import * as glue from "../wasm/tequio_wasm.js";
import type { FromWorker, ToWorker } from "./pool.js";
import type { WireModule } from "./wasm-types.js";

const wasm = glue as unknown as WireModule;
const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
};

scope.onmessage = (event) => {
  const message = event.data;
  switch (message.type) {
    case "init":
      try {
        wasm.initSync({ module: message.module });
        scope.postMessage({ type: "ready" });
      } catch (error) {
        scope.postMessage({ type: "broken", message: text(error) });
      }
      return;
    case "unit": {
      const { computeId, input } = message;
      try {
        const result = wasm.computeUnit(input).slice();
        scope.postMessage({ type: "done", computeId, result }, [result.buffer]);
      } catch (error) {
        // After a trap the instance's memory is in an unknown state.
        const fatal = error instanceof WebAssembly.RuntimeError;
        scope.postMessage({ type: "failed", computeId, message: text(error), fatal });
      }
      return;
    }
    case "bench":
      try {
        scope.postMessage({ type: "bench", result: wasm.benchCompute(message.n, message.ms) });
      } catch (error) {
        scope.postMessage({ type: "broken", message: text(error) });
      }
  }
};

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
