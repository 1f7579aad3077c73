/**
 * Loads the generated glue and compiles the module once for the page; workers share the compiled
 * module. Its errors name what a browser or a Content-Security-Policy does not allow.
 */
import { compileDownload, type DownloadProgress } from "./code-download.js";
import { CspWatch, watchViolations } from "./csp.js";
import { NetworkError, UnsupportedError, WorkerError } from "./errors.js";
import type { WorkerLike } from "./pool.js";
import { deadline } from "./signals.js";
import type { WireModule } from "./wasm-types.js";

/** The instantiated glue and its module. */
export interface Loaded {
  wasm: WireModule;
  module: WebAssembly.Module;
}

/** The smallest module with a SIMD128 instruction. */
const SIMD_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
  253, 98, 11,
]);

/** URLs of the package's code, for programs whose bundler does not resolve them. */
export interface CodeUrls {
  /** URL of `tequio_wasm_bg.wasm`. */
  wasmUrl?: string | URL;
  /** URL of the module `worker.js`, on the page's own origin. */
  workerUrl?: string | URL;
}

/** How long the host of the worker script may take to answer. */
const ANSWER_TIME_MS_MAX = 8_000;

const compiled = new Map<string, Promise<WebAssembly.Module>>();
let loaded: Promise<Loaded> | undefined;

/** Receives the progress of the code's download. */
export type Report = (progress: DownloadProgress) => void;

const reports = new Set<Report>();
/** The size of the module, once the glue that states it is loaded. */
let moduleBytes: number | null = null;

/** Compiles the module; a second call for the same URL returns the same module. */
export function compile({ wasmUrl }: CodeUrls = {}): Promise<WebAssembly.Module> {
  // Bundlers recognise this exact expression.
  const url = wasmUrl ?? new URL("../wasm/tequio_wasm_bg.wasm", import.meta.url);
  const known = compiled.get(String(url));
  if (known) return known;
  const compiling = compileOnce(url).catch((error: unknown) => {
    compiled.delete(String(url));
    throw error;
  });
  compiled.set(String(url), compiling);
  return compiling;
}

/**
 * Instantiates the light node on this thread, once: a later `wasmUrl` has no effect. `report`
 * receives the download's progress until its end, even if another caller started the download.
 */
export function load(urls: CodeUrls = {}, report?: Report): Promise<Loaded> {
  if (report) reports.add(report);
  loaded ??= instantiate(urls).catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  const remove = () => report && reports.delete(report);
  loaded.then(remove, remove);
  return loaded;
}

/** Starts a compute worker. */
export function spawnWorker({ workerUrl }: CodeUrls = {}): WorkerLike {
  if (typeof Worker !== "function") {
    throw new UnsupportedError(
      "there are no Web Workers here, so nothing can be computed for the network",
    );
  }
  try {
    const options = { type: "module", name: "tequio-compute" } as const;
    if (workerUrl !== undefined) return new Worker(workerUrl, options) as WorkerLike;
    // Bundlers recognise this exact expression.
    return new Worker(new URL("./worker.js", import.meta.url), {
      type: "module",
      name: "tequio-compute",
    }) as WorkerLike;
  } catch (error) {
    throw new WorkerError(`a compute worker cannot be started: ${(error as Error).message}`, error);
  }
}

/**
 * Whether the host of the worker script answers. Any answer counts, except the errors with which a
 * proxy reports that the host behind it does not answer. Workers come from the page's own origin,
 * so without a `workerUrl` this asks for the page. If the page's policy forbids the question, the
 * answer is yes.
 */
export async function codeAnswers({ workerUrl }: CodeUrls = {}): Promise<boolean> {
  const page = globalThis.location?.href ?? "http://localhost/";
  const url = new URL(workerUrl ?? page, page);
  if (!/^https?:$/.test(url.protocol)) return true;
  const csp = new CspWatch(watchViolations);
  const limit = deadline(ANSWER_TIME_MS_MAX);
  try {
    // Neither a cached answer nor that of a redirect's target says anything about the host.
    const { status } = await fetch(url, {
      method: "HEAD",
      cache: "no-store",
      redirect: "manual",
      signal: limit.signal,
    });
    return status < 502 || status > 504;
  } catch (error) {
    const failure = new NetworkError("CODE_UNREACHABLE", `${url.href} does not answer`, error);
    return (await csp.explain(failure)).code === "CSP_BLOCKED";
  } finally {
    limit.release();
    csp.stop();
  }
}

async function instantiate(urls: CodeUrls): Promise<Loaded> {
  const scope = globalThis as { document?: unknown; WorkerGlobalScope?: unknown };
  // The WebSocket transport sets its timers on a window or on a worker's scope. Node's global scope
  // has the same functions.
  if (scope.document === undefined) scope.WorkerGlobalScope ??= class WorkerGlobalScope {};
  const [glue, module] = await Promise.all([importGlue(), compile(urls)]);
  const wasm = glue as unknown as WireModule;
  await wasm.default({ module_or_path: module });
  return { wasm, module };
}

async function importGlue(): Promise<unknown> {
  try {
    const glue = await import("../wasm/tequio_wasm.js");
    moduleBytes = (glue as unknown as WireModule).MODULE_BYTES ?? null;
    return glue;
  } catch (error) {
    throw new NetworkError(
      "CODE_UNREACHABLE",
      "the light node's script could not be loaded",
      error,
    );
  }
}

async function compileOnce(url: string | URL): Promise<WebAssembly.Module> {
  if (typeof WebAssembly !== "object") throw new UnsupportedError("there is no WebAssembly here");
  if (!WebAssembly.validate(SIMD_PROBE)) {
    throw new UnsupportedError(
      "there is no WebAssembly SIMD here; any browser from 2023 on has it",
    );
  }
  try {
    // Node's `fetch` does not support file URLs.
    if (String(url).startsWith("file:")) {
      return await WebAssembly.compile(await readFile(new URL(url)));
    }
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const reportAll: Report = (progress) => reports.forEach((report) => report(progress));
    return await compileDownload(response, () => moduleBytes, reportAll);
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) {
      throw new UnsupportedError(
        "the light node's code could not be compiled; if the page has a Content-Security-Policy, " +
          "script-src needs 'wasm-unsafe-eval'",
        error,
      );
    }
    const { message } = error as Error;
    throw new NetworkError(
      "CODE_UNREACHABLE",
      `the light node's code could not be loaded from ${String(url)}: ${message}`,
      error,
    );
  }
}

/** Reads a file in Node. */
async function readFile(url: URL): Promise<BufferSource> {
  // A variable, because bundlers for browsers would resolve a literal.
  const name = "node:fs/promises";
  const { readFile } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as {
    readFile(url: URL): Promise<Uint8Array<ArrayBuffer>>;
  };
  return readFile(url);
}
