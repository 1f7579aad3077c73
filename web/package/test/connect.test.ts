import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import test from "node:test";
import type { ConnectOptions } from "../src/connect.js";
import { CHECKPOINT_BYTES_MAX } from "../src/checkpoint.js";
import type { TequioError } from "../src/errors.js";
import type { TequioEvent } from "../src/events.js";
import { ICE_SERVERS_MAX, ICE_TEXT_BYTES_MAX } from "../src/ice.js";
import { RELAYS_MAX, parseWellKnown } from "../src/relays.js";
import { HASH, RELAY, fakeEnvironment, settled } from "./fakes.js";

async function code(promise: Promise<unknown>): Promise<string> {
  const error = (await promise.then(
    () => assert.fail("it did not throw"),
    (thrown: unknown) => thrown,
  )) as TequioError;
  assert.equal(typeof error.code, "string", String(error));
  return error.code;
}

async function serving(
  bodies: Record<string, string | Uint8Array>,
  run: (base: string) => Promise<void>,
): Promise<void> {
  const server: Server = createServer((request, response) => {
    const body = bodies[request.url ?? ""];
    response.statusCode = body === undefined ? 404 : 200;
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await run(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

test("the caller's mistakes are refused before anything is loaded", async () => {
  const fake = fakeEnvironment();
  const wrong: [Partial<Record<keyof ConnectOptions, unknown>>, string][] = [
    [{ checkpoint: undefined }, "CHECKPOINT_REQUIRED"],
    [{ checkpoint: new Uint8Array() }, "BAD_CHECKPOINT"],
    [{ checkpoint: new Uint8Array(CHECKPOINT_BYTES_MAX + 1) }, "BAD_CHECKPOINT"],
    [{ checkpoint: { url: "/checkpoint.bin" } }, "BAD_CHECKPOINT"],
    [{ checkpoint: { url: "/checkpoint.bin", hash: "xyz" } }, "BAD_CHECKPOINT"],
    [{ relays: [] }, "BAD_OPTIONS"],
    [{ relays: ["ws://relay.example"] }, "BAD_OPTIONS"],
    [{ store: "a/b" }, "BAD_OPTIONS"],
    [{ iceServers: "stun:a" }, "BAD_OPTIONS"],
    [{ iceServers: [{ urls: [] }] }, "BAD_OPTIONS"],
    [{ iceServers: [{ urls: "http://relay.example" }] }, "BAD_OPTIONS"],
    [{ iceServers: [{ urls: "turn:relay.example", username: "a" }] }, "BAD_OPTIONS"],
    [
      { iceServers: Array.from({ length: ICE_SERVERS_MAX + 1 }, () => ({ urls: "stun:a" })) },
      "BAD_OPTIONS",
    ],
  ];
  for (const [options, expected] of wrong) {
    assert.equal(
      await code(fake.connect(options as Partial<ConnectOptions>)),
      expected,
      JSON.stringify(options).slice(0, 80),
    );
  }
  assert.equal(fake.loads, 0);
});

test("invalid data while connecting is reported even if connecting fails", async () => {
  const fake = fakeEnvironment();
  const named: string[] = [];
  const invalid = { type: "invalidData", peer: "relay", what: "header" } as const;
  fake.whileStarting = (emit) => emit({ ...invalid, detail: "bad certificate" });
  const message = "every source sent invalid data";
  fake.startError = Object.assign(new Error(message), { code: "VERIFICATION_FAILED" });
  const onEvent = (event: TequioEvent) => {
    if (event.type === "invalidData") named.push(event.peer);
  };
  assert.equal(await code(fake.connect({ onEvent })), "VERIFICATION_FAILED");
  assert.deepEqual(named, ["relay"]);
});

test("the error of an insecure origin names the origin", async () => {
  const fake = fakeEnvironment();
  fake.secure = false;
  await assert.rejects(fake.connect(), { code: "INSECURE_ORIGIN", message: /192\.168\.1\.5/ });
  assert.equal(fake.loads, 0);
});

test("a pinned checkpoint must have its hash", async () => {
  const fake = fakeEnvironment();
  const files = {
    "/good": new Uint8Array([7, 7]),
    "/bad": new Uint8Array([8]),
    "/huge": new Uint8Array(CHECKPOINT_BYTES_MAX + 1),
  };
  await serving(files, async (base) => {
    const hash = HASH.toUpperCase();
    const pinned = (path: string) => fake.connect({ checkpoint: { url: base + path, hash } });
    const node = await pinned("/good");
    assert.deepEqual([...(fake.light.config?.checkpoint ?? [])], [7, 7]);
    await node.close();
    assert.equal(await code(pinned("/bad")), "CHECKPOINT_MISMATCH");
    assert.equal(await code(pinned("/huge")), "CHECKPOINT_UNREACHABLE");
    assert.equal(await code(pinned("/missing")), "CHECKPOINT_UNREACHABLE");
  });
});

test("relays come from options and well-known files; one readable file suffices", async () => {
  const other = RELAY.replace("4001", "4002");
  const file = JSON.stringify({
    version: 1,
    chain: "00",
    relays: [other, other, "not an address", 5],
    checkpoint: "/checkpoint.bin",
  });
  await serving({ "/a.json": file, "/b.json": "{" }, async (base) => {
    const fake = fakeEnvironment();
    const node = await fake.connect({ wellKnown: [`${base}/a.json`, `${base}/b.json`] });
    assert.deepEqual(fake.light.config?.relays, [RELAY, other]);
    await node.close();
    const explicit = await fake.connect({ wellKnown: `${base}/b.json` });
    assert.deepEqual(fake.light.config?.relays, [RELAY]);
    await explicit.close();
    assert.equal(
      await code(fake.connect({ relays: [], wellKnown: `${base}/b.json` })),
      "WELL_KNOWN",
    );
  });
});

test("a well-known file cannot flood the node", () => {
  const many = Array.from({ length: 1_000 }, (_, port) => RELAY.replace("4001", String(port + 1)));
  const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  assert.equal(parseWellKnown(bytes({ version: 1, relays: many })).relays.length, RELAYS_MAX);
  assert.deepEqual(
    parseWellKnown(bytes({ version: 1, relays: [`/${"x".repeat(600)}/p2p/abc`] })).relays,
    [],
  );
  for (const bad of [null, [], { version: 2, relays: [] }, { version: 1 }]) {
    assert.throws(() => parseWellKnown(bytes(bad)));
  }
});

test("ICE servers come from options and well-known files, in that order", async () => {
  const turn = {
    urls: ["turn:198.51.100.1:3478?transport=udp"],
    username: "1700000000:a",
    credential: "c",
  };
  const file = JSON.stringify({ version: 1, relays: [RELAY], iceServers: [turn] });
  await serving({ "/a.json": file, "/b.json": "{" }, async (base) => {
    const fake = fakeEnvironment();
    const node = await fake.connect({
      wellKnown: `${base}/a.json`,
      iceServers: [{ urls: "stun:stun.example" }],
    });
    assert.deepEqual(fake.light.config?.iceServers, [{ urls: ["stun:stun.example"] }, turn]);
    await node.close();
    const without = await fake.connect({ wellKnown: `${base}/b.json` });
    assert.deepEqual(fake.light.config?.iceServers, []);
    await without.close();
  });
});

test("credentials of a well-known file are renewed while the node runs", async () => {
  const turn = (n: number) => ({
    urls: ["turn:198.51.100.1:3478?transport=udp"],
    username: `${n}:a`,
    credential: `c${n}`,
  });
  const file = (n: number) => {
    const fields = { version: 1, relays: [RELAY], iceServers: [turn(n)], iceLifetimeS: 3_600 };
    return JSON.stringify(fields);
  };
  const bodies = { "/a.json": file(1) };
  await serving(bodies, async (base) => {
    const fake = fakeEnvironment();
    const node = await fake.connect({
      wellKnown: `${base}/a.json`,
      iceServers: [{ urls: "stun:a" }],
    });
    assert.deepEqual(fake.light.config?.iceServers, [{ urls: ["stun:a"] }, turn(1)]);
    const timer = fake.clock.timers[0];
    bodies["/a.json"] = file(2);
    fake.clock.pass(1_800_000);
    timer?.();
    while (fake.light.iceServersSet.length === 0) await settled();
    assert.deepEqual(fake.light.iceServersSet, [[{ urls: ["stun:a"] }, turn(2)]]);

    assert.throws(() => node.setIceServers([{ urls: "http://a" }]), { code: "BAD_OPTIONS" });
    node.setIceServers([{ urls: "stun:b" }]);
    assert.deepEqual(fake.light.iceServersSet.at(-1), [{ urls: ["stun:b"] }, turn(2)]);
    await node.close();
    assert.equal(fake.clock.timers.length, 0);
    assert.throws(() => node.setIceServers([]), { code: "CLOSED" });
  });
});

test("only valid ICE servers of an untrusted file are used, and few", () => {
  const named = (iceServers: unknown) => {
    const text = JSON.stringify({ version: 1, relays: [], iceServers });
    return parseWellKnown(new TextEncoder().encode(text)).iceServers;
  };
  const stun = { urls: "stun:a" };
  const long = "é".repeat(ICE_TEXT_BYTES_MAX / 2 + 1);
  const bad: unknown[] = [
    null,
    5,
    "stun:a",
    {},
    { urls: [] },
    { urls: [5] },
    { urls: ["stun:a", "stun:b", "stun:c", "stun:d", "stun:e"] },
    { urls: "https://a" },
    { urls: "javascript:a" },
    { urls: "stun:a b" },
    { urls: `stun:${"a".repeat(ICE_TEXT_BYTES_MAX)}` },
    { urls: "turn:a" },
    { urls: "turn:a", username: "u", credential: 5 },
    { urls: "turn:a", username: long, credential: "c" },
  ];
  for (const one of bad) {
    assert.deepEqual(named([one, stun]), [{ urls: ["stun:a"] }], JSON.stringify(one).slice(0, 60));
  }
  assert.equal(named(Array.from({ length: 1_000 }, () => stun)).length, ICE_SERVERS_MAX);
  for (const absent of [undefined, null, {}, "stun:a"]) assert.deepEqual(named(absent), []);
});

test("a failed start releases the store and throws a typed error", async () => {
  const fake = fakeEnvironment();
  fake.startError = Object.assign(new Error("no relay answered"), { code: "NO_RELAY" });
  assert.equal(await code(fake.connect()), "NO_RELAY");
  assert.equal(fake.released, 1);
});

test("units go to workers and their results to the node", async () => {
  const fake = fakeEnvironment();
  const node = await fake.connect();
  await settled();
  const ends: boolean[] = [];
  node.on("unitEnd", (event) => ends.push(event.ok));
  const fields = { type: "unit", job: "j", round: 1, unit: 0, kind: "compute" } as const;
  const unit = (computeId: number) =>
    fake.light.emit({ ...fields, computeId, input: new Uint8Array([computeId]) });

  unit(1);
  await settled();
  assert.deepEqual(fake.light.failures.get(1), "not contributing");

  node.contribute({ workers: 1 });
  assert.deepEqual(fake.light.workersSet, [1]);
  fake.host.workers[0]?.send({ type: "ready" });
  unit(2);
  await settled();
  fake.host.workers[0]?.send({ type: "done", computeId: 2, result: new Uint8Array([42]) });
  assert.deepEqual(fake.light.results.get(2), [42]);

  unit(3);
  await settled();
  fake.host.workers[0]?.crash("tab out of memory");
  assert.equal(fake.light.failures.get(3), "tab out of memory");
  assert.deepEqual(ends, [false, true, false]);
  await node.close();
});

test("an event from inside a call into WebAssembly is dispatched after that call", async () => {
  const fake = fakeEnvironment();
  const node = await fake.connect();
  let inside = false;
  await settled();
  const received: boolean[] = [];
  node.on("forkEvidence", () => received.push(inside));
  inside = true;
  fake.light.emit({ type: "forkEvidence", detail: "x" });
  inside = false;
  await settled();
  assert.deepEqual(received, [false]);
  await node.close();
});

test("a contribution whose workers cannot start stops with its error", async () => {
  const fake = fakeEnvironment();
  const node = await fake.connect();
  const contribution = node.contribute({ workers: 1 });
  for (let index = 0; index < 3; index += 1) fake.host.workers[index]?.crash("blocked");
  await settled();
  assert.equal(contribution.state, "stopped");
  assert.equal(contribution.error?.code, "WORKER");
  assert.equal(fake.light.workersSet.at(-1), 0);
  await node.close();
});

test("close is idempotent, ends workers and streams, and every later call is CLOSED", async () => {
  const fake = fakeEnvironment();
  const node = await fake.connect();
  const contribution = node.contribute({ workers: 2 });
  const stream = node.events();
  await Promise.all([node.close(), node.close()]);
  assert.equal(fake.light.closed, 1);
  assert.equal(fake.released, 1);
  assert.equal(contribution.state, "stopped");
  assert.equal(fake.host.alive.length, 0);
  for await (const event of stream) assert.equal(event.type, "contribution");
  assert.throws(() => node.status(), { code: "CLOSED" });
  assert.throws(() => node.contribute(), { code: "CLOSED" });
  assert.equal(await code(node.jobs()), "CLOSED");
});

test("a model checks its input and refuses after close", async () => {
  const fake = fakeEnvironment();
  const node = await fake.connect();
  const model = await node.model("ab".repeat(32));
  assert.deepEqual(model.columns.map(({ name, mean }) => [name, mean]), [["x", 0], ["y", 5]]);
  assert.deepEqual(model.classes, ["a", "b"]);
  assert.deepEqual(model.predict([1, 2]), { label: "a", confidences: [0.75, 0.25] });
  assert.throws(() => model.predict([1]), { code: "BAD_OPTIONS" });
  assert.throws(() => model.predict([1, NaN]), { code: "BAD_OPTIONS" });
  model.close();
  model.close();
  assert.throws(() => model.predict([1, 2]), { code: "CLOSED" });
  await node.close();
});

test("a rejection of the boundary has its class", async () => {
  const fake = fakeEnvironment();
  const node = await fake.connect();
  fake.light.fail = Object.assign(new Error("proof of absence"), { code: "NOT_FOUND" });
  await assert.rejects(node.model("0".repeat(64)), { name: "NotFoundError", code: "NOT_FOUND" });
  await node.close();
});
