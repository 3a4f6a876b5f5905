import { createServer, type IncomingMessage, type Server as Listener } from "node:http";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Report, reports } from "../../examples/functions.js";
import { Callback, CallbackKey, signLegacy } from "../../src/callbacks.js";
import { Server } from "../support/development.js";

let server: Server;
let listener: Listener;
let secret: string;
const statuses: number[] = [];
const works: Promise<unknown>[] = [];
const asked: { report: Report; idempotencyKey: string }[] = [];
/** The last job's callback, as the worker named it. */
let named: { callback_id: string; callback_url: string };
let handle: (request: Request) => Promise<Response>;

beforeAll(async () => {
  listener = createServer(async (incoming, outgoing) => {
    const request = await asRequest(incoming);
    named = await request.clone().json();
    const { status } = await handle(request);
    statuses.push(status);
    outgoing.writeHead(status).end();
  });
  const { port } = await listening(listener);
  // The worker has to know the receiver's port before there is one.
  const free = createServer();
  const { port: callbacks } = await listening(free);
  await new Promise((closed) => free.close(closed));
  server = await Server.start([
    "--callbacks",
    `127.0.0.1:${callbacks}`,
    "--async-function",
    `make_report=http://127.0.0.1:${port}/`,
  ]);
  secret = await readFile(join(server.folder, "dev/callbacks.key"), "utf8");
});
afterAll(async () => {
  listener?.close();
  await server?.stop();
});

async function listening(server: Listener): Promise<AddressInfo> {
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  return server.address() as AddressInfo;
}

async function asRequest(incoming: IncomingMessage): Promise<Request> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  return new Request(`http://${incoming.headers.host}${incoming.url}`, {
    method: incoming.method ?? "",
    headers: incoming.headers as Record<string, string>,
    body: Buffer.concat(chunks),
  });
}

async function enqueue(month: string): Promise<string> {
  const [row] = await server.sql<{ id: string }[]>`
    select rolegate.enqueue('make_report', ${server.sql.json({ month })})::text as id`;
  return row?.id ?? "";
}

async function job(id: string): Promise<{ state: string; output: unknown }> {
  const [row] = await server.sql<{ job: { state: string; output: unknown } }[]>`
    select to_jsonb(found) as job from rolegate.job(${id}::bigint) as found`;
  return row?.job ?? { state: "none", output: undefined };
}

const ends = (id: string, state: string) =>
  expect.poll(async () => (await job(id)).state, { timeout: 15_000 }).toBe(state);

async function example(key: string, make: (report: Report) => Promise<{ pages: number }>) {
  handle = await reports(
    key,
    async (report, idempotencyKey) => {
      asked.push({ report, idempotencyKey });
      return make(report);
    },
    (work) => works.push(work),
  );
}

test("the example takes what a worker sends, and its answer is the job's output", async () => {
  await example(secret, async () => ({ pages: 3 }));
  const id = await enqueue("May");
  await ends(id, "completed");
  expect(await job(id)).toMatchObject({ output: { pages: 3 } });
  expect(statuses).toEqual([202]);
  expect(asked).toEqual([{ report: { month: "May" }, idempotencyKey: `app-${id}` }]);
  expect(await works[0]).toMatchObject({ id: Number(id), state: expect.any(String) });
});

test("what a function can't do is tried again", async () => {
  await example(secret, async () => Promise.reject(new Error("no paper")));
  const id = await enqueue("June");
  await ends(id, "retryable");
  expect(JSON.stringify(await job(id))).toContain("no paper");
});

test("a job of somebody with another key is refused", async () => {
  const before = asked.length;
  await example("09".repeat(32), async () => ({ pages: 3 }));
  await ends(await enqueue("July"), "failed");
  expect(statuses.at(-1)).toBe(401);
  expect(asked.length).toBe(before);
});

test("a call with another key, and one of the older kind, decide nothing", async () => {
  let done = () => {};
  const waiting = new Promise<void>((resolve) => (done = resolve));
  await example(secret, async () => {
    await waiting;
    return { pages: 4 };
  });
  const id = await enqueue("August");
  await ends(id, "waiting_external");
  const forger = await CallbackKey.of("dev", "0a".repeat(32));
  await expect(new Callback(forger, named).complete("forged")).rejects.toMatchObject({
    code: "signature_invalid",
    status: 401,
  });
  const legacy = signLegacy(await CallbackKey.of("dev", secret), named.callback_id);
  const older = await fetch(named.callback_url, { method: "POST", headers: { "X-Awa-Signature": legacy } });
  expect(older.status).toBe(401);
  const own = new Callback(await CallbackKey.of("dev", secret), named);
  expect(await own.heartbeat(60, { percent: 50 })).toMatchObject({ state: "waiting_external" });
  await expect(own.resume()).rejects.toMatchObject({ code: "callback_conflict", status: 409 });
  done();
  await ends(id, "completed");
  expect(await job(id)).toMatchObject({ output: { pages: 4 } });
  // The same call once more has the same answer; another one is too late.
  expect(await own.complete({ pages: 4 })).toMatchObject({ state: "completed" });
  await expect(own.complete({ pages: 5 })).rejects.toMatchObject({ status: 409 });
});
