/**
 * Loads the generated glue and compiles the module once for the page; workers
 * share the compiled module. Says in plain words what a browser or a
 * Content-Security-Policy does not allow.
 */
import { UnsupportedError } from "./errors.js";
import type { WorkerLike } from "./pool.js";
import type { WireModule } from "./wasm-types.js";

/** The instantiated glue with the module it came from. */
export interface Loaded {
  wasm: WireModule;
  module: WebAssembly.Module;
}

/** The smallest module with a SIMD128 instruction. */
const SIMD_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

let compiled: Promise<WebAssembly.Module> | undefined;
let loaded: Promise<Loaded> | undefined;

/** Compiles the module; the second call gets the same one. */
export function compile(): Promise<WebAssembly.Module> {
  compiled ??= compileOnce().catch((error: unknown) => {
    compiled = undefined;
    throw error;
  });
  return compiled;
}

/** Instantiates the light node on this thread. */
export function load(): Promise<Loaded> {
  loaded ??= instantiate().catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

/** A new compute worker. Bundlers recognise this exact expression. */
export function spawnWorker(): WorkerLike {
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "tequio-compute" }) as WorkerLike;
}

async function instantiate(): Promise<Loaded> {
  const [glue, module] = await Promise.all([import("../wasm/tequio_wasm.js"), compile()]);
  const wasm = glue as unknown as WireModule;
  await wasm.default({ module_or_path: module });
  return { wasm, module };
}

async function compileOnce(): Promise<WebAssembly.Module> {
  if (typeof WebAssembly !== "object") throw new UnsupportedError("this browser has no WebAssembly");
  if (!WebAssembly.validate(SIMD_PROBE)) throw new UnsupportedError("this browser has no WebAssembly SIMD; any version from 2023 on has it");
  const url = new URL("../wasm/tequio_wasm_bg.wasm", import.meta.url);
  let bytes: ArrayBuffer;
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    bytes = await response.arrayBuffer();
  } catch (error) {
    throw new UnsupportedError(`the light node's code could not be loaded from ${url.href}`, error);
  }
  try {
    return await WebAssembly.compile(bytes);
  } catch (error) {
    throw new UnsupportedError(
      "the light node's code could not be compiled; if the page has a Content-Security-Policy, script-src needs 'wasm-unsafe-eval'",
      error,
    );
  }
}
