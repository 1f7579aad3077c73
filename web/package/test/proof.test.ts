import assert from "node:assert/strict";
import test from "node:test";
import { CONTRIBUTION_FILE_BYTES_MAX, verifyContributionProof, verifyWith } from "../src/proof.js";
import { PROVED, fakeEnvironment } from "./fakes.js";

const CHECKPOINT = new Uint8Array([1]);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const file = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

test("the file of a contribution is readable, and verifies", async () => {
  const fake = fakeEnvironment();
  const node = await fake.connect();
  const { bytes, contribution, fileName } = await node.contributionProof("ab".repeat(32));
  assert.deepEqual(contribution, PROVED);
  assert.match(fileName, /^tequio-contribution-abab.*\.json$/);
  assert.equal(JSON.parse(text(bytes)).contribution.units, 4);
  assert.deepEqual(verifyWith(fake.wasm, bytes, CHECKPOINT), PROVED);
  await node.close();
});

test("a file with changed facts, form or proof is rejected", async () => {
  const fake = fakeEnvironment();
  const node = await fake.connect();
  const { bytes } = await node.contributionProof("ab".repeat(32));
  await node.close();
  const good = JSON.parse(text(bytes));
  const wrong: unknown[] = [
    { ...good, contribution: { ...good.contribution, units: 5 } },
    { ...good, contribution: { ...good.contribution, honour: "great" } },
    { ...good, format: "tequio/contribution/2" },
    { ...good, proof: "AgA=" },
    { ...good, proof: "not base64!" },
    { ...good, contribution: null },
    null,
    [],
  ];
  for (const value of wrong) {
    assert.throws(
      () => verifyWith(fake.wasm, file(value), CHECKPOINT),
      { code: "BAD_OBJECT" },
      JSON.stringify(value).slice(0, 90),
    );
  }
  assert.throws(
    () => verifyWith(fake.wasm, bytes.subarray(1), CHECKPOINT),
    { code: "BAD_OBJECT" },
  );
  assert.throws(
    () => verifyWith(fake.wasm, new Uint8Array(CONTRIBUTION_FILE_BYTES_MAX + 1), CHECKPOINT),
    { code: "BAD_OBJECT" },
  );
  await assert.rejects(verifyContributionProof("a" as unknown as Uint8Array, CHECKPOINT), {
    code: "BAD_OPTIONS",
  });
});
