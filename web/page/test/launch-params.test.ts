import assert from "node:assert/strict";
import test from "node:test";
import { readLaunchParams } from "../src/launch-params.js";

const HASH = "0f".repeat(32);
const ADDRESS = "/ip4/127.0.0.1/tcp/1/ws/p2p/12D3KooWGjMCZ2tWqs1tPqoB3KpGzBPSJgCyGSpd7aVUfs9hZDUH";

test("by default this origin names the relays, and the fragment pins the checkpoint", () => {
  assert.deepEqual(readLaunchParams(`http://127.0.0.1:8080/#checkpoint=${HASH.toUpperCase()}`), {
    checkpoint: { url: "http://127.0.0.1:8080/checkpoint.bin", hash: HASH },
    relays: [],
    wellKnown: ["http://127.0.0.1:8080/.well-known/tequio.json"],
    job: null,
  });
});

test("?relay= takes multiaddresses and origins, several times, instead of this origin", () => {
  const query = new URLSearchParams([
    ["relay", ADDRESS],
    ["relay", "http://relay.example:1"],
    ["relay", "https://b.example/x/tequio.json"],
    ["relay", "junk"],
  ]);
  const launchParams = readLaunchParams(
    `https://host.example/app/?${query}#checkpoint=${HASH}&job=digits`,
  );
  assert.deepEqual(launchParams.relays, [ADDRESS]);
  assert.deepEqual(
    launchParams.wellKnown,
    ["http://relay.example:1/.well-known/tequio.json", "https://b.example/x/tequio.json"],
  );
  assert.equal(launchParams.checkpoint?.url, "https://host.example/app/checkpoint.bin");
  assert.equal(launchParams.job, "digits");
});

test("a missing or invalid hash gives no checkpoint", () => {
  const hashes = ["", HASH.slice(1), `${HASH.slice(1)}g`].map((hash) => `#checkpoint=${hash}`);
  for (const fragment of ["", "#", ...hashes]) {
    assert.equal(readLaunchParams(`http://localhost/${fragment}`).checkpoint, null, fragment);
  }
});
