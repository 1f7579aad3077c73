/**
 * A js-libp2p node that dials Tequio nodes over WebRTC-direct by handshake v1, the only version
 * that js-libp2p supports.
 *
 * Usage: node client.mjs --peer MULTIADDR --relay MULTIADDR --circuit MULTIADDR
 * Prints a line of JSON for each passed check: first with the peer (`tequio-libp2p-peer`), then
 * with the relay, then with the peer through the relay's circuit.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { gossipsub } from "@libp2p/gossipsub";
import { identify } from "@libp2p/identify";
import { noise } from "@libp2p/noise";
import { ping } from "@libp2p/ping";
import { webRTCDirect } from "@libp2p/webrtc";
import { yamux } from "@libp2p/yamux";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";

const PROTOCOL = "/tequio/tests/1";
const TOPIC = "tequio-tests";
const MIB = 1 << 20;
/** The first byte of a stream, as `StreamRequest` in `tests/webrtc-page/src/pattern.rs`. */
const REQUEST = { echo: 0, download: 1, upload: 2, slowUpload: 3 };
/** The relay limits circuits, and js-libp2p opens streams on limited connections only with this. */
const LIMITED = { runOnLimitedConnection: true };

const { values } = parseArgs({
  options: { peer: { type: "string" }, relay: { type: "string" }, circuit: { type: "string" } },
});
const print = (event, rest = {}) => console.log(JSON.stringify({ event, ...rest }));

/** The bytes that both sides generate: xorshift, with a period that equals no buffer's length. */
const PATTERN = (() => {
  const mask = (1n << 64n) - 1n;
  let x = 7n;
  return Uint8Array.from({ length: 1_000_003 }, () => {
    x ^= (x << 13n) & mask;
    x ^= x >> 7n;
    x ^= (x << 17n) & mask;
    return Number(x & 255n);
  });
})();

/** Returns at most `max` bytes of the pattern from a position on. */
function patternAt(position, max) {
  const start = position % PATTERN.length;
  return PATTERN.subarray(start, start + max);
}

function digestOf(length) {
  const hash = createHash("sha256");
  for (let sent = 0; sent < length; ) {
    const part = patternAt(sent, Math.min(65_536, length - sent));
    hash.update(part);
    sent += part.length;
  }
  return hash.digest("hex");
}

/** Opens a stream and sends its request. */
async function open(connection, request, length) {
  const stream = await connection.newStream(PROTOCOL, LIMITED);
  const head = new DataView(new ArrayBuffer(9));
  head.setUint8(0, request);
  head.setBigUint64(1, BigInt(length), true);
  stream.send(new Uint8Array(head.buffer));
  return stream;
}

/**
 * Downloads bytes and compares their SHA-256. A slow reader pauses for `pauseMs` after the first
 * message. Uses events, because the stream's iterator ends with the remote's last byte and loses
 * the bytes that arrived during a pause.
 */
async function download(connection, length, pauseMs = 0) {
  const stream = await open(connection, REQUEST.download, length);
  const hash = createHash("sha256");
  let received = 0;
  await new Promise((resolve, reject) => {
    stream.addEventListener("close", ({ error }) => {
      reject(error ?? new Error(`${received} of ${length} bytes`));
    });
    stream.addEventListener("message", ({ data }) => {
      if (received === 0 && pauseMs > 0) {
        stream.pause();
        setTimeout(() => stream.status === "open" && stream.resume(), pauseMs).unref();
      }
      for (const part of data instanceof Uint8Array ? [data] : data) hash.update(part);
      received += data.byteLength;
      if (received >= length) resolve();
    });
  });
  if (received !== length) throw new Error(`${received} bytes instead of ${length}`);
  if (hash.digest("hex") !== digestOf(length)) throw new Error("the received bytes are wrong");
  await stream.close();
}

/**
 * Sends the pattern without a backlog: js-libp2p's yamux sends its whole backlog in one frame, and
 * ours refuses frames above 1 MiB.
 */
async function write(stream, length) {
  for (let sent = 0; sent < length; ) {
    const part = patternAt(sent, Math.min(65_536, length - sent));
    sent += part.length;
    if (!stream.send(part)) await stream.onDrain();
    if (stream.writeBuffer.byteLength > 0) await once(stream, "idle");
  }
}

/** Uploads bytes. The other side compares each byte, and confirms all with one byte of its own. */
async function upload(connection, length, request = REQUEST.upload) {
  const stream = await open(connection, request, length);
  const confirmed = new Promise((resolve, reject) => {
    stream.addEventListener("close", ({ error }) => {
      reject(error ?? new Error("the stream was closed before the confirmation"));
    });
    stream.addEventListener("message", ({ data }) => resolve(data.subarray()));
  });
  const [, confirmation] = await Promise.all([write(stream, length), confirmed]);
  if (confirmation.length !== 1 || confirmation[0] !== 1) throw new Error("no valid confirmation");
  await stream.close();
}

const create = (pings) =>
  createLibp2p({
    addresses: { listen: [] },
    transports: [webRTCDirect(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    // The monitor pings too, and js-libp2p allows one ping at a time.
    connectionMonitor: { enabled: false },
    services: {
      identify: identify({ runOnLimitedConnection: true }),
      ping: ping({ ...LIMITED, ...pings }),
      gossip: gossipsub({ runOnLimitedConnection: true, allowPublishToZeroTopicPeers: true }),
    },
  });
// By default js-libp2p allows one open ping stream. The peer's rust-libp2p polls a stream again
// only when another event wakes its connection. So it may detect the end of a stream late, and
// js-libp2p would refuse the next one.
const node = await create({ maxOutboundStreams: 32 });
node.services.gossip.subscribe(TOPIC);

/** Publishes messages and waits for the peer's reply to each. */
async function gossip(remote, prefix) {
  const gossip = node.services.gossip;
  while (!gossip.getSubscribers(TOPIC).some((peer) => peer.equals(remote))) {
    await once(gossip, "subscription-change");
  }
  const missing = new Set(Array.from({ length: 20 }, (_, n) => `heard ${prefix} ${n}`));
  const { promise, resolve } = Promise.withResolvers();
  const listener = ({ detail }) => {
    missing.delete(new TextDecoder().decode(detail.data));
    if (missing.size === 0) resolve();
  };
  gossip.addEventListener("message", listener);
  for (let n = 0; n < 20; n += 1) {
    await gossip.publish(TOPIC, new TextEncoder().encode(`${prefix} ${n}`));
  }
  await promise;
  gossip.removeEventListener("message", listener);
}

/** Checks pings, bulk transfers and gossip on a connection. */
async function checkAll(connection, name) {
  const remote = connection.remotePeer;
  for (let n = 0; n < 10; n += 1) await node.services.ping.ping(remote);
  print(`${name} ping`);
  const began = performance.now();
  await download(connection, 16 * MIB);
  const between = performance.now();
  await upload(connection, 16 * MIB);
  const rate = (ms) => Math.round(160_000 / ms) / 10;
  print(`${name} bulk`, {
    down_mib_per_s: rate(between - began),
    up_mib_per_s: rate(performance.now() - between),
  });
  await gossip(remote, name);
  print(`${name} gossip`);
}

const dial = (addr) => node.dial(multiaddr(addr));
const direct = await dial(values.peer);
print("direct dialled", { limited: direct.limits !== undefined });
await checkAll(direct, "direct");

// A paused reader: js-libp2p cannot slow a WebRTC channel down, so it buffers up to 4 MiB.
await download(direct, 3 * MIB, 2000);
// A writer with a paused reader: the upload is larger than all buffers between the two.
await upload(direct, 12 * MIB, REQUEST.slowUpload);
print("direct slow");

// Beyond those 4 MiB js-libp2p resets the stream, which must differ from a regular end.
const refused = await download(direct, 16 * MIB, 60_000).then(() => null, String);
// More than our side buffers for a peer without windows.
const flood = await upload(direct, 64 * MIB, REQUEST.slowUpload).then(() => null, String);
if (refused === null || flood === null) throw new Error("a buffer has no limit");
await node.services.ping.ping(direct.remotePeer);
print("direct overflow", { refused, flood });
await direct.close();

// The relay polls streams at once, so js-libp2p's default allows any number of pings in a row.
const strict = await create({});
const pinged = await strict.dial(multiaddr(values.relay));
for (let n = 0; n < 10; n += 1) await strict.services.ping.ping(pinged.remotePeer);
await strict.stop();
// js-libp2p identifies each new peer itself, by one stream at a time, so the client waits for it.
const identified = new Promise((resolve) => {
  node.addEventListener("peer:identify", ({ detail }) => {
    if (detail.peerId.equals(pinged.remotePeer)) resolve(detail);
  });
});
await dial(values.relay);
const { agentVersion } = await identified;
print("relay ping", { agent: agentVersion });

const relayed = await dial(values.circuit);
print("circuit dialled", { limited: relayed.limits !== undefined });
await checkAll(relayed, "circuit");
// On a circuit yamux has windows: a paused reader makes the other side wait.
await download(relayed, 8 * MIB, 4000);
await upload(relayed, 8 * MIB, REQUEST.slowUpload);
print("circuit slow");

await node.stop();
print("stopped");
process.exit(0);
