/**
 * Compiles the light node's module while it downloads, and reports the progress. Browsers deliver
 * decompressed bytes, so the progress counts those against the module's own size.
 */

/** How much of the light node's code has arrived, in bytes of the module. */
export interface DownloadProgress {
  received: number;
  /** The size of the whole module; null while it is not known. */
  total: number | null;
}

/** Shortest time between two reports, except before the last one. */
const REPORT_INTERVAL_MS = 100;

/**
 * Compiles the body of `response`. Throws `WebAssembly.CompileError` for code that is invalid or
 * that a policy forbids, and another error for an interrupted download.
 */
export async function compileDownload(
  response: Response,
  total: () => number | null,
  report: (progress: DownloadProgress) => void,
): Promise<WebAssembly.Module> {
  if (response.body === null) throw new Error("an empty answer");
  let received = 0;
  let reported = -Infinity;
  const counted = response.body.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        received += chunk.byteLength;
        controller.enqueue(chunk);
        const now = performance.now();
        if (now < reported + REPORT_INTERVAL_MS) return;
        reported = now;
        report({ received, total: total() });
      },
      flush: () => report({ received, total: received }),
    }),
  );
  // A static host may send another content type, with which a browser refuses to compile.
  const headers = { "content-type": "application/wasm" };
  return WebAssembly.compileStreaming(new Response(counted, { headers }));
}
