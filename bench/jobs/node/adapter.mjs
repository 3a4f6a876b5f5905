// What every contestant of bench/jobs.py that is written for Node shares. A contestant hands `main`
// an object of functions; the protocol itself: bench/README.md, "Jobs".
//
//   about                    [name, version]
//   install(url, queues)
//   open(url, pool)          what the next three get as `this`; `close()` is called at the end
//   enqueue(queue, payloads)
//   pending(queues)          how many jobs are not durably finished
//   start(workers, queues, handle, latency)   gives an async function that stops the workers
//   connect(url)             a pg client, for single transactions
//   single(client, queue, payload)            begin, enqueue one, commit

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const BULK = 2000;
const PROGRESS_MS = 10;
const PACE_MS = 50;
const PATIENCE_MS = 20_000;
const WARM_UP = 10;

const PLAIN_INSERT =
  "insert into bench_plain (queue, kind, payload) values ($1, 'bench_job', $2) returning id";

const now = () => (performance.timeOrigin + performance.now()) / 1000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const queueNames = (count) => Array.from({ length: count }, (_, n) => `bench_${n}`);

function payload(seq, bytes) {
  const value = { seq, t_us: Math.round(now() * 1e6), pad: "" };
  value.pad = "x".repeat(Math.max(0, bytes - JSON.stringify(value).length));
  return value;
}

const payloads = (from, to, bytes) =>
  Array.from({ length: to - from }, (_, n) => payload(from + n, bytes));

function figures(values) {
  const sorted = Float64Array.from(values).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { count: sorted.length, p50_us: at(0.5), p99_us: at(0.99), max_us: at(1) };
}

class Handler {
  constructor(told) {
    this.handled = 0;
    this.first = 0;
    this.ages = [];
    this.told = told;
    this.handle = (job) => {
      const at = now();
      this.first ||= at;
      this.ages.push(at * 1e6 - job.t_us);
      this.handled += 1;
      this.told?.(job.seq, at);
    };
  }
}

/** Of a package beside this file. */
export function installedVersion(name) {
  const manifest = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(manifest, "utf8")).version;
}

/** Lines of standard input; `next()` gives false at its end. */
function orders() {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  return { next: async () => !(await lines.next()).done };
}

async function enqueue(contestant, options) {
  const queues = queueNames(options.queues);
  const opened = await contestant.open(options.url, 5);
  const begin = now();
  const left = queues.map((_, n) => Math.floor((options.jobs + queues.length - 1 - n) / queues.length));
  let seq = 0;
  // In turn, so that all queues have jobs of about the same age.
  while (seq < options.jobs) {
    for (let n = 0; n < queues.length; n++) {
      const count = Math.min(BULK, left[n]);
      if (count === 0) continue;
      await opened.enqueue(queues[n], payloads(seq, seq + count, options.payload));
      left[n] -= count;
      seq += count;
    }
  }
  say({ event: "enqueued", jobs: seq, begin, end: now() });
  await opened.close();
}

async function pending(contestant, options) {
  const opened = await contestant.open(options.url, 2);
  const lines = orders();
  while (await lines.next()) {
    const begin = now();
    const jobs = await opened.pending(queueNames(options.queues));
    say({ event: "pending", jobs, begin, end: now() });
  }
  await opened.close();
}

async function work(contestant, options) {
  const opened = await contestant.open(options.url, options.pool);
  const handler = new Handler();
  const lines = orders();
  say({ event: "ready" });
  if (!(await lines.next())) return opened.close();
  const stop = await opened.start(options.workers, queueNames(options.queues), handler.handle, false);
  let told = 0;
  const ticks = setInterval(() => {
    if (handler.handled === told) return;
    told = handler.handled;
    say({ event: "progress", jobs: told, first: handler.first, at: now() });
  }, PROGRESS_MS);
  await lines.next();
  clearInterval(ticks);
  const begin = now();
  await stop();
  say({
    event: "worked", jobs: handler.handled, first: handler.first, age: figures(handler.ages),
    stop_seconds: now() - begin,
  });
  await opened.close();
}

async function produce(contestant, options) {
  const queues = queueNames(options.queues);
  const opened = await contestant.open(options.url, 2);
  const begin = now();
  let seq = 0;
  for (let tick = 0; now() - begin < options.seconds; tick++) {
    const due = Math.min(seq + BULK, Math.floor(Math.min(now() - begin, options.seconds) * options.rate));
    if (due > seq) {
      await opened.enqueue(queues[seq % queues.length], payloads(seq, due, options.payload));
      seq = due;
    }
    await sleep(Math.max(0, (begin + ((tick + 1) * PACE_MS) / 1000 - now()) * 1000));
  }
  say({ event: "enqueued", jobs: seq, begin, end: now() });
  await opened.close();
}

async function plain(client, queue, job) {
  await client.query("begin");
  await client.query({ name: "plain", text: PLAIN_INSERT, values: [queue, JSON.stringify(job)] });
  await client.query("commit");
}

async function single(contestant, options) {
  const clients = [];
  for (let n = 0; n < options.connections; n++) clients.push(await contestant.connect(options.url));
  const one = options.plain ? plain : contestant.single;
  const [queue] = queueNames(1);
  let seq = 0;
  let jobs = 0;
  const begin = now();
  await Promise.all(clients.map(async (client) => {
    while (now() - begin < options.seconds) {
      await one(client, queue, payload(seq++, options.payload));
      jobs += 1;
    }
  }));
  say({ event: "enqueued", jobs, begin, end: now() });
  await Promise.all(clients.map((client) => client.end()));
}

async function latency(contestant, options) {
  const waiting = new Map();
  const handler = new Handler((seq, at) => waiting.get(seq)?.(at));
  const opened = await contestant.open(options.url, options.pool);
  const queues = queueNames(options.queues);
  const stop = await opened.start(options.workers, queues, handler.handle, true);
  const client = await contestant.connect(options.url);
  const fromCall = [];
  const fromCommit = [];
  let beforeAnswer = 0;
  let lost = 0;
  const limit = now() + options.seconds;
  for (let seq = 0; seq < options.jobs + WARM_UP; seq++) {
    // Not in step with anybody's polling.
    await sleep(10 + ((seq * 7919) % 41));
    const job = payload(seq, options.payload);
    let timer;
    const handled = Promise.race([
      new Promise((resolve) => waiting.set(seq, resolve)),
      new Promise((resolve) => { timer = setTimeout(resolve, PATIENCE_MS); }),
    ]);
    const called = now();
    await contestant.single(client, queues[0], job);
    const committed = now();
    const at = await handled;
    clearTimeout(timer);
    waiting.delete(seq);
    if (at === undefined) {
      lost += 1;
    } else if (seq >= WARM_UP) {
      fromCall.push((at - called) * 1e6);
      fromCommit.push(Math.max(0, at - committed) * 1e6);
      if (at < committed) beforeAnswer += 1;
    }
    if (now() > limit) break;
  }
  say({
    event: "latency", from_call: figures(fromCall), from_commit: figures(fromCommit),
    before_answer: beforeAnswer, lost,
  });
  await client.end();
  await stop();
  await opened.close();
}

async function install(contestant, options) {
  const begin = now();
  await contestant.install(options.url, queueNames(options.queues));
  say({ event: "installed", seconds: now() - begin });
}

const COMMANDS = { install, enqueue, pending, work, produce, single, latency };

export async function main(contestant) {
  const { positionals: [command], values } = parseArgs({
    allowPositionals: true,
    options: {
      variant: { type: "string", default: "" },
      jobs: { type: "string", default: "1000" },
      queues: { type: "string", default: "1" },
      payload: { type: "string", default: "256" },
      workers: { type: "string", default: "4" },
      pool: { type: "string", default: "20" },
      connections: { type: "string", default: "1" },
      seconds: { type: "string", default: "60" },
      rate: { type: "string", default: "800" },
      plain: { type: "boolean", default: false },
    },
  });
  const { variant, plain, ...numbers } = values;
  const options = { variant, plain, url: process.env.DATABASE_URL };
  for (const [name, text] of Object.entries(numbers)) options[name] = Number(text);
  const made = contestant(variant);
  if (command === "about") {
    const [name, version] = made.about;
    say({ event: "about", name, version: `${version} on Node ${process.versions.node}` });
  } else {
    await COMMANDS[command](made, options);
  }
  // Libraries keep timers and sockets; everything that counts has been awaited.
  process.exit(0);
}
