/**
 * A js-libp2p node that dials ours: WebRTC-direct by handshake v1, the only one that js-libp2p has.
 *
 * Usage: node client.mjs --peer MULTIADDR [--relay MULTIADDR --circuit MULTIADDR]
 * Prints an event for each thing that was proved, one of JSON a line: first with the peer (`tequio-libp2p-peer`), then
 * with the relay, then with the peer once more through the relay's circuit.
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
/** What the first byte of a stream asks for; `tests/webrtc-page/src/pattern.rs` has the same. */
const WISH = { echo: 0, download: 1, upload: 2, slowUpload: 3 };
/** Streams on a circuit carry this too: the relay limits circuits, and js-libp2p wants to be told that we know. */
const LIMITED = { runOnLimitedConnection: true };

const { values } = parseArgs({
  options: { peer: { type: "string" }, relay: { type: "string" }, circuit: { type: "string" } },
});
const say = (event, rest = {}) => console.log(JSON.stringify({ event, ...rest }));

/** The bytes that both sides know: xorshift, repeating at a length which no buffer has. */
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

/** The pattern's bytes from a position on, at most `max` of them. */
function at(position, max) {
  const start = position % PATTERN.length;
  return PATTERN.subarray(start, start + max);
}

function digestOf(length) {
  const hash = createHash("sha256");
  for (let sent = 0; sent < length; ) {
    const part = at(sent, Math.min(65_536, length - sent));
    hash.update(part);
    sent += part.length;
  }
  return hash.digest("hex");
}

async function open(connection, wish, length) {
  const stream = await connection.newStream(PROTOCOL, LIMITED);
  const head = new DataView(new ArrayBuffer(9));
  head.setUint8(0, wish);
  head.setBigUint64(1, BigInt(length), true);
  stream.send(new Uint8Array(head.buffer));
  return stream;
}

/**
 * Gets bytes and compares their SHA-256; a slow reader stops for `pauseMs` as soon as the first of them is there.
 * By events: the stream's own iterator ends with the remote's last byte, and what came during a pause is lost to it.
 */
async function download(connection, length, pauseMs = 0) {
  const stream = await open(connection, WISH.download, length);
  const hash = createHash("sha256");
  let received = 0;
  await new Promise((resolve, reject) => {
    stream.addEventListener("close", ({ error }) => reject(error ?? new Error(`${received} of ${length} bytes`)));
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
  if (hash.digest("hex") !== digestOf(length)) throw new Error("other bytes than were sent");
  await stream.close();
}

/**
 * js-libp2p's yamux sends all that waits in one frame, and ours refuses frames above 1 MiB: so nothing may pile up.
 */
async function write(stream, length) {
  for (let sent = 0; sent < length; ) {
    const part = at(sent, Math.min(65_536, length - sent));
    sent += part.length;
    if (!stream.send(part)) await stream.onDrain();
    if (stream.writeBuffer.byteLength > 0) await once(stream, "idle");
  }
}

/** Sends bytes; the other side compares each of them, then says so with one of its own. */
async function upload(connection, length, wish = WISH.upload) {
  const stream = await open(connection, wish, length);
  const said = new Promise((resolve, reject) => {
    stream.addEventListener("close", ({ error }) => reject(error ?? new Error("closed before all had come")));
    stream.addEventListener("message", ({ data }) => resolve(data.subarray()));
  });
  await Promise.all([write(stream, length), said]);
  const word = await said;
  if (word.length !== 1 || word[0] !== 1) throw new Error("not the word that all has come");
  await stream.close();
}

const create = (pings) =>
  createLibp2p({
    addresses: { listen: [] },
    transports: [webRTCDirect(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    // It pings too, and one ping at a time is all that js-libp2p allows.
    connectionMonitor: { enabled: false },
    services: {
      identify: identify({ runOnLimitedConnection: true }),
      ping: ping({ ...LIMITED, ...pings }),
      gossip: gossipsub({ runOnLimitedConnection: true, allowPublishToZeroTopicPeers: true }),
    },
  });
// By itself js-libp2p lets one stream of pings be open at a time. The peer's rust-libp2p, having answered, looks at a stream
// again only when something else wakes its connection: so it may learn late that one has ended, and the next would be refused.
const node = await create({ maxOutboundStreams: 32 });
node.services.gossip.subscribe(TOPIC);

/** Messages both ways: each of ours is answered by the peer with one of its own. */
async function gossip(remote, prefix) {
  const gossip = node.services.gossip;
  while (!gossip.getSubscribers(TOPIC).some((peer) => peer.equals(remote))) {
    await once(gossip, "subscription-change");
  }
  const wanted = new Set(Array.from({ length: 20 }, (_, n) => `heard ${prefix} ${n}`));
  const { promise, resolve } = Promise.withResolvers();
  const listener = ({ detail }) => {
    wanted.delete(new TextDecoder().decode(detail.data));
    if (wanted.size === 0) resolve();
  };
  gossip.addEventListener("message", listener);
  for (let n = 0; n < 20; n += 1) await gossip.publish(TOPIC, new TextEncoder().encode(`${prefix} ${n}`));
  await promise;
  gossip.removeEventListener("message", listener);
}

async function all(connection, name) {
  const remote = connection.remotePeer;
  for (let n = 0; n < 10; n += 1) await node.services.ping.ping(remote);
  say(`${name} ping`);
  const began = performance.now();
  await download(connection, 16 * MIB);
  const between = performance.now();
  await upload(connection, 16 * MIB);
  const rate = (ms) => Math.round(160_000 / ms) / 10;
  say(`${name} bulk`, {
    down_mib_per_s: rate(between - began),
    up_mib_per_s: rate(performance.now() - between),
  });
  await gossip(remote, name);
  say(`${name} gossip`);
}

const dial = (addr) => node.dial(multiaddr(addr));
const direct = await dial(values.peer);
say("direct dialled", { limited: direct.limits !== undefined });
await all(direct, "direct");

// A reader that stops: js-libp2p has no means to slow a WebRTC channel down, so it keeps what comes, up to 4 MiB.
await download(direct, 3 * MIB, 2000);
// A writer whose reader stops: it may have more on its way than any buffer between the two holds.
await upload(direct, 12 * MIB, WISH.slowUpload);
say("direct slow");

// Beyond those 4 MiB it gives the stream up; what matters is that this is told apart from an end.
const refused = await download(direct, 16 * MIB, 60_000).then(() => null, String);
// More than our side keeps for a peer that knows no windows.
const flood = await upload(direct, 64 * MIB, WISH.slowUpload).then(() => null, String);
if (refused === null || flood === null) throw new Error("a buffer without an end");
await node.services.ping.ping(direct.remotePeer);
say("direct overflow", { refused, flood });
await direct.close();

// The relay looks at once, so js-libp2p as it is pings it as often as it likes.
const strict = await create({});
const pinged = await strict.dial(multiaddr(values.relay));
for (let n = 0; n < 10; n += 1) await strict.services.ping.ping(pinged.remotePeer);
await strict.stop();
// js-libp2p identifies each new peer by itself, and allows one such stream at a time: so we wait for what it learns.
const identified = new Promise((resolve) => {
  node.addEventListener("peer:identify", ({ detail }) => detail.peerId.equals(pinged.remotePeer) && resolve(detail));
});
await dial(values.relay);
const { agentVersion } = await identified;
say("relay ping", { agent: agentVersion });

const relayed = await dial(values.circuit);
say("circuit dialled", { limited: relayed.limits !== undefined });
await all(relayed, "circuit");
// Here yamux has windows: who does not read makes the other side wait.
await download(relayed, 8 * MIB, 4000);
await upload(relayed, 8 * MIB, WISH.slowUpload);
say("circuit slow");

await node.stop();
say("stopped");
process.exit(0);
