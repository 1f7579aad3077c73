/**
 * Load on the HTTP API: transactions that were signed before go to every node of a devnet at a
 * steady rate, and must all be applied. At the end the script ends its processes and removes its
 * folder.
 *
 * Usage: npm run load -- [--rate 90] [--seconds 20] [--clients 32] [--nodes 4]
 * [--bin ../../target/debug]
 * The rate is that of one node. Above 100 a second a node answers one address with 429, which is
 * counted and is no failure.
 * Prints one line of JSON.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import autocannon from "autocannon";

/** Largest number of new accounts in one block. */
const REGISTRATIONS_PER_BLOCK_MAX = 8;
/** Lifetime of a transaction, in blocks. */
const VALIDITY_BLOCKS = 4000;
/** Longest wait for a condition, on a busy machine. */
const WITHIN_MS = 120_000;
const POLL_INTERVAL_MS = 200;

const { values } = parseArgs({
  options: {
    rate: { type: "string", default: "90" },
    seconds: { type: "string", default: "20" },
    clients: { type: "string", default: "32" },
    nodes: { type: "string", default: "4" },
    bin: { type: "string", default: join(import.meta.dirname, "../../target/debug") },
  },
});
const settings = Object.fromEntries(
  ["rate", "seconds", "clients", "nodes"].map((name) => [name, positiveInteger(name)]),
);
if (settings.clients % settings.nodes !== 0) {
  throw new Error("--clients must be a multiple of --nodes");
}
const perNode = settings.clients / settings.nodes;
/** Transactions of each client, equally many for all. */
const each = Math.ceil((settings.rate * settings.seconds) / perNode);

function positiveInteger(name) {
  const number = Number(values[name]);
  if (!Number.isInteger(number) || number < 1) {
    throw new Error(`--${name} must be a whole number above 0`);
  }
  return number;
}

const program = (name) => join(resolve(values.bin), name);
const environment = { ...process.env, TEQUIO_PASSPHRASE: "only for a load" };
const started = [];

function start(name, args, stderr) {
  const child = spawn(program(name), args, { env: environment, stdio: ["pipe", "pipe", stderr] });
  started.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${name} has ended: build it with cargo build --workspace --bins`);
    return JSON.parse(value);
  };
  return { child, next };
}

/** Polls until there is a result. */
async function until(what, poll) {
  const deadline = Date.now() + WITHIN_MS;
  for (;;) {
    const found = await poll();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`);
    await sleep(POLL_INTERVAL_MS);
  }
}

async function get(node, path) {
  const answer = await fetch(node.http + path);
  return answer.ok ? answer.json() : undefined;
}

async function post(node, hex) {
  const headers = { authorization: node.authorization };
  const body = Buffer.from(hex, "hex");
  const answer = await fetch(`${node.http}/v1/transactions`, { method: "POST", headers, body });
  if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`);
}

async function devnet(folder) {
  const net = join(folder, "net");
  const validators = ["--validators", `${settings.nodes}`];
  const options = ["init", "--devnet", "--json", ...validators, "--dir", net];
  const init = start("tequio", options, "inherit");
  const [code] = await once(init.child, "exit");
  if (code !== 0) throw new Error("tequio init has failed");
  const nodes = [];
  for (let number = 1; number <= settings.nodes; number++) {
    const dir = join(net, `node${number}`);
    const log = await open(join(folder, `node${number}.log`), "w");
    const options = ["run", "--json", "--http", "127.0.0.1:0", "--dir", dir];
    const { next } = start("tequio", options, log.fd);
    await log.close();
    nodes.push({ dir, next });
  }
  for (const node of nodes) {
    node.http = (await node.next()).http.replace(/\/$/, "");
    node.authorization = `Bearer ${(await readFile(join(node.dir, "api-token"), "utf8")).trim()}`;
  }
  await until("blocks", async () => {
    return (await get(nodes[0], "/v1/status")).height > 1 ? true : undefined;
  });
  return { nodes, genesis: join(net, "genesis.bin") };
}

/** Opens the clients' accounts, as many at once as one block allows. */
async function register(node, sign) {
  const accounts = [];
  for (let first = 0; first < settings.clients; first += REGISTRATIONS_PER_BLOCK_MAX) {
    const { head } = await get(node, "/v1/status");
    const group = [];
    const end = Math.min(first + REGISTRATIONS_PER_BLOCK_MAX, settings.clients);
    for (let client = first; client < end; client++) {
      const anchor = { anchor: head.height, digest: head.hash };
      const { account, transactions } = await sign({ client, ...anchor });
      await post(node, transactions[0]);
      group.push(account);
    }
    for (const account of group) {
      const { nonce } = await until("an account", () => get(node, `/v1/accounts/${account}`));
      accounts.push({ account, nonce });
    }
  }
  return accounts;
}

/** Submits the lists to one node, each over its own connection, because their order counts. */
function submitAll(node, lists) {
  let client = 0;
  const answers = {};
  let last = performance.now();
  const run = autocannon({
    url: `${node.http}/v1/transactions`,
    method: "POST",
    connections: lists.length,
    amount: lists.length * each,
    overallRate: settings.rate,
    setupClient: (connection) => {
      const headers = {
        authorization: node.authorization,
        "content-type": "application/octet-stream",
      };
      const list = lists[client++ % lists.length];
      connection.setRequests(
        list.map((hex) => ({ method: "POST", headers, body: Buffer.from(hex, "hex") })),
      );
    },
  });
  run.on("response", (_, status) => {
    answers[status] = (answers[status] ?? 0) + 1;
    last = performance.now();
  });
  return run.then((result) => ({ result, answers, last }));
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

const folder = await mkdtemp(join(tmpdir(), "tequio-load-"));
try {
  const { nodes, genesis } = await devnet(folder);
  const signer = start("tequio-load-signer", [genesis], "inherit");
  const sign = async (request) => {
    signer.child.stdin.write(`${JSON.stringify(request)}\n`);
    return signer.next();
  };
  const accounts = await register(nodes[0], sign);
  const { height } = await get(nodes[0], "/v1/status");
  const lists = [];
  for (const [client, { nonce }] of accounts.entries()) {
    const expires = height + VALIDITY_BLOCKS;
    const signed = await sign({ client, nonce, sequence: 0, count: each, expires });
    lists.push(signed.transactions);
  }
  // Every node needs the accounts before it accepts their transactions.
  for (const node of nodes) {
    await until("all nodes follow", async () => {
      return (await get(node, "/v1/status")).height >= height ? true : undefined;
    });
  }
  const began = performance.now();
  const loads = await Promise.all(
    nodes.map((node, index) =>
      submitAll(node, lists.filter((_, client) => client % settings.nodes === index)),
    ),
  );
  // autocannon takes up to a second more to end.
  const sent = Math.max(...loads.map(({ last }) => last));
  const answers = {};
  for (const load of loads) {
    for (const [status, count] of Object.entries(load.answers)) {
      answers[status] = (answers[status] ?? 0) + count;
    }
  }
  const refused = settings.clients * each - (answers[202] ?? 0);
  // If one transaction is refused, the following ones of its sender wait for it.
  let applied;
  if (refused === 0) {
    for (const { account, nonce } of accounts) {
      await until("all transactions in blocks", async () =>
        (await get(nodes[0], `/v1/accounts/${account}`))?.nonce >= nonce + each ? true : undefined,
      );
    }
    applied = performance.now();
  }
  const [after, alive] = await Promise.all([
    until("the height", () => get(nodes[0], "/v1/status")),
    until("a healthy node", async () => {
      return (await fetch(`${nodes[0].http}/healthz`)).ok ? true : undefined;
    }),
  ]);
  const seconds = (ms) => Number((ms / 1000).toFixed(2));
  const worst = (of) => Math.max(...loads.map(({ result }) => of(result.latency)));
  const report = {
    ...settings,
    transactions: settings.clients * each,
    answers,
    errors: sum(loads.map(({ result }) => result.errors + result.timeouts)),
    seconds_sent: seconds(sent - began),
    submitted_per_s: Math.round((answers[202] ?? 0) / ((sent - began) / 1000)),
    answer_ms: {
      p50: worst((latency) => latency.p50),
      p97_5: worst((latency) => latency.p97_5),
      p99: worst((latency) => latency.p99),
      max: worst((latency) => latency.max),
    },
    all_applied_within_s: applied === undefined ? null : seconds(applied - sent),
    blocks: after.height - height,
    healthy: alive,
    load_average: Number(loadavg()[0].toFixed(1)),
  };
  console.log(JSON.stringify(report));
  // Failures without a response, or with one that a client cannot correct.
  const expected = ["202", "429", "503"];
  const unexpected = Object.keys(answers).filter((status) => !expected.includes(status));
  if (report.errors > 0 || unexpected.length > 0) process.exitCode = 1;
} finally {
  for (const child of started) child.kill("SIGKILL");
  await Promise.all(
    started.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")),
  );
  await rm(folder, { recursive: true, force: true });
}
