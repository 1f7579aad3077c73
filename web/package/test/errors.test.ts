import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import * as errors from "../src/errors.js";

const boundary = (code: string, message = "from Rust") =>
  Object.assign(new Error(message), { code });

test("each code of the boundary gets its class, keeps its code and its message", () => {
  const expected = {
    BAD_CHECKPOINT: errors.CheckpointError,
    STALE_CHECKPOINT: errors.CheckpointError,
    OTHER_NETWORK: errors.CheckpointError,
    NO_RELAY: errors.NetworkError,
    TIMEOUT: errors.NetworkError,
    NOT_FOUND: errors.NotFoundError,
    VERIFICATION_FAILED: errors.VerificationError,
    CLOSED: errors.ClosedError,
    STORAGE: errors.StorageError,
    UNIT_FAILED: errors.WorkerError,
    UNAVAILABLE: errors.NetworkError,
    BAD_OBJECT: errors.VerificationError,
    FORKED: errors.VerificationError,
    INSECURE_ORIGIN: errors.InsecureOriginError,
    INTERNAL: errors.InternalError,
  };
  const rust = readFileSync("../../wasm/src/error.rs", "utf8");
  const declared = new Set([...rust.matchAll(/=> "([A-Z_]+)"/g)].map(([, code]) => code));
  const asOptions = ["BAD_CONFIG", "BAD_INPUT"];
  assert.deepEqual(new Set([...Object.keys(expected), ...asOptions]), declared);
  for (const [code, Class] of Object.entries(expected)) {
    const thrown = boundary(code);
    const error = errors.fromBoundary(thrown);
    assert.ok(error instanceof Class, code);
    assert.ok(error instanceof errors.TequioError);
    assert.equal(error.code, code);
    assert.equal(error.name, Class.name);
    const { message } = error;
    if (code === "INSECURE_ORIGIN") assert.match(message, /is not a secure origin/);
    else assert.equal(message, code === "INTERNAL" ? "from Rust (INTERNAL)" : "from Rust");
    assert.equal(error.cause, thrown);
  }
});

test("the boundary's BAD_CONFIG and BAD_INPUT are a bad option", () => {
  for (const code of ["BAD_CONFIG", "BAD_INPUT"]) {
    const error = errors.fromBoundary(boundary(code));
    assert.ok(error instanceof errors.OptionsError);
    assert.equal(error.code, "BAD_OPTIONS");
  }
});

test("an error with an unknown code is INTERNAL, and its message keeps the code", () => {
  const unknown = errors.fromBoundary(boundary("BRAND_NEW"));
  assert.equal(unknown.code, "INTERNAL");
  assert.equal(unknown.fault, "internal");
  assert.match(unknown.message, /BRAND_NEW/);
  assert.equal(errors.fromBoundary("a string").message, "a string");
  assert.equal(errors.fromBoundary(undefined).code, "INTERNAL");
});

test("a typed error passes unchanged", () => {
  const error = new errors.ClosedError();
  assert.equal(errors.fromBoundary(error), error);
});

test("the fault names the origin of the cause", () => {
  assert.equal(errors.fromBoundary(boundary("VERIFICATION_FAILED")).fault, "peer");
  assert.equal(errors.fromBoundary(boundary("BAD_CHECKPOINT")).fault, "caller");
  assert.equal(new errors.InsecureOriginError("http://x").fault, "environment");
  assert.match(new errors.InsecureOriginError("http://x").message, /https.*--tls-cert/s);
});
