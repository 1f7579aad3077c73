import assert from "node:assert/strict";
import test from "node:test";
import * as errors from "../src/errors.js";

const boundary = (code: string, message = "told by Rust") => Object.assign(new Error(message), { code });

test("each code of the boundary gets its class, keeps its code and its message", () => {
  const expected = {
    BAD_CHECKPOINT: errors.CheckpointError,
    STALE_CHECKPOINT: errors.CheckpointError,
    NO_RELAY: errors.NetworkError,
    TIMEOUT: errors.NetworkError,
    NOT_FOUND: errors.NotFoundError,
    LIE_DETECTED: errors.VerificationError,
    CLOSED: errors.ClosedError,
    STORAGE: errors.StorageError,
    UNAVAILABLE: errors.NetworkError,
    BAD_OBJECT: errors.VerificationError,
    FORKED: errors.VerificationError,
    UNSUPPORTED: errors.UnsupportedError,
    BAD_OPTIONS: errors.OptionsError,
  };
  for (const [code, Class] of Object.entries(expected)) {
    const thrown = boundary(code);
    const error = errors.fromBoundary(thrown);
    assert.ok(error instanceof Class, code);
    assert.ok(error instanceof errors.TequioError);
    assert.equal(error.code, code);
    assert.equal(error.name, Class.name);
    assert.equal(error.message, "told by Rust");
    assert.equal(error.cause, thrown);
  }
});

test("what the boundary calls bad configuration or input is a bad option", () => {
  for (const code of ["BAD_CONFIG", "BAD_INPUT"]) {
    const error = errors.fromBoundary(boundary(code));
    assert.ok(error instanceof errors.OptionsError);
    assert.equal(error.code, "BAD_OPTIONS");
  }
});

test("what has no known code is ours, and keeps the code for the report", () => {
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

test("faults tell whose turn it is", () => {
  assert.equal(errors.fromBoundary(boundary("LIE_DETECTED")).fault, "peer");
  assert.equal(errors.fromBoundary(boundary("BAD_CHECKPOINT")).fault, "caller");
  assert.equal(new errors.InsecureOriginError("http://x").fault, "environment");
  assert.match(new errors.InsecureOriginError("http://x").message, /https.*--tls-cert/s);
});
