/**
 * Compiles the light node's module while it downloads, and reports the progress. The bytes are
 * counted as they are after decompression, because that is how browsers hand them out; the module's
 * own size is the measure.
 */

/** How much of the light node's code has come, in bytes of the module. */
export interface DownloadProgress {
  received: number;
  /** The size of the whole module; null while it is not known. */
  total: number | null;
}

/** The least time between two reports, apart from the last. */
const REPORT_INTERVAL_MS = 100;

/**
 * Compiles the body of `response`. Throws `WebAssembly.CompileError` for what cannot or must not be
 * compiled, and another error for a download that breaks off.
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
  // Static hosts that do not know the type would make a browser refuse to compile what it receives.
  return WebAssembly.compileStreaming(new Response(counted, { headers: { "content-type": "application/wasm" } }));
}
