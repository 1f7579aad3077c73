/** Tests that a module compiles while it downloads, and that its bytes are counted. */
import assert from "node:assert/strict";
import test from "node:test";
import { compileDownload, type DownloadProgress } from "../src/code-download.js";

/** A module with one custom section that holds `length` zeros. */
function moduleOf(length: number): Uint8Array<ArrayBuffer> {
  const header = [0, 97, 115, 109, 1, 0, 0, 0];
  const size = length + 2;
  const custom = [0, (size & 127) | 128, (size >> 7) & 127, 1, 110];
  return new Uint8Array([...header, ...custom, ...new Uint8Array(length)]);
}

/** A response with a body in pieces of `size`, which ends with `error` if that is given. */
function inPieces(bytes: Uint8Array<ArrayBuffer>, size: number, error?: Error): Response {
  let at = 0;
  return new Response(
    new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull(controller) {
        if (at < bytes.length) controller.enqueue(bytes.slice(at, (at += size)));
        else if (error) controller.error(error);
        else controller.close();
      },
    }),
  );
}

test("the progress is reported, and the last report is complete", async () => {
  const bytes = moduleOf(2_000);
  const reported: DownloadProgress[] = [];
  const report = (progress: DownloadProgress) => void reported.push(progress);
  const module = await compileDownload(inPieces(bytes, 500), () => bytes.length, report);
  assert.ok(module instanceof WebAssembly.Module);
  assert.deepEqual(reported[0], { received: 500, total: bytes.length });
  assert.deepEqual(reported.at(-1), { received: bytes.length, total: bytes.length });
});

test("a size that is not known yet is null", async () => {
  const reported: DownloadProgress[] = [];
  const report = (progress: DownloadProgress) => void reported.push(progress);
  await compileDownload(inPieces(moduleOf(200), 100), () => null, report);
  assert.equal(reported[0]?.total, null);
});

test("invalid code and an interrupted download have different errors", async () => {
  const nothing = () => {};
  await assert.rejects(
    compileDownload(new Response("<!doctype html>"), () => null, nothing),
    WebAssembly.CompileError,
  );
  const broken = compileDownload(
    inPieces(moduleOf(200), 100, new Error("reset")),
    () => null,
    nothing,
  );
  await assert.rejects(broken, (error: Error) => !(error instanceof WebAssembly.CompileError));
});
