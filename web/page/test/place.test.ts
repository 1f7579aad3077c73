import assert from "node:assert/strict";
import test from "node:test";
import { readPlace } from "../src/place.js";

const HASH = "0f".repeat(32);
const ADDRESS = "/ip4/127.0.0.1/tcp/1/ws/p2p/12D3KooWGjMCZ2tWqs1tPqoB3KpGzBPSJgCyGSpd7aVUfs9hZDUH";

test("by default this origin is asked for relays, and the fragment pins the checkpoint", () => {
  assert.deepEqual(readPlace(`http://127.0.0.1:8080/#checkpoint=${HASH.toUpperCase()}`), {
    checkpoint: { url: "http://127.0.0.1:8080/checkpoint.bin", hash: HASH },
    relays: [],
    wellKnown: ["http://127.0.0.1:8080/.well-known/tequio.json"],
    job: null,
  });
});

test("?relay= takes multiaddresses and origins, several times, instead of this origin", () => {
  const query = new URLSearchParams([["relay", ADDRESS], ["relay", "http://relay.example:1"], ["relay", "https://b.example/x/tequio.json"], ["relay", "junk"]]);
  const place = readPlace(`https://host.example/app/?${query}#checkpoint=${HASH}&job=digits`);
  assert.deepEqual(place.relays, [ADDRESS]);
  assert.deepEqual(place.wellKnown, ["http://relay.example:1/.well-known/tequio.json", "https://b.example/x/tequio.json"]);
  assert.equal(place.checkpoint?.url, "https://host.example/app/checkpoint.bin");
  assert.equal(place.job, "digits");
});

test("no hash, a short one or another character is no starting point", () => {
  for (const fragment of ["", "#", "#checkpoint=", `#checkpoint=${HASH.slice(1)}`, `#checkpoint=${HASH.slice(1)}g`]) {
    assert.equal(readPlace(`http://localhost/${fragment}`).checkpoint, null, fragment);
  }
});
