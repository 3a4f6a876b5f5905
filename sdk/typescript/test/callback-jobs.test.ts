import { expect, test } from "vitest";
import { reports } from "../examples/functions.js";
import { Callback, CallbackKey, receiveJob, signRequest, Verifier, verifyJob } from "../src/callbacks.js";
import { RolegateError } from "../src/index.js";

const SECRET = "07".repeat(32);
const ID = "0f8fad5b-d9cb-469f-a165-70867728950e";
const job = {
  job_id: 17,
  kind: "make_report",
  args: { month: "May" },
  attempt: 1,
  max_attempts: 25,
  callback_id: ID,
  callback_url: `https://callbacks.example/api/callbacks/${ID}/complete`,
};

const key = () => CallbackKey.of("dev", SECRET);

/** A request as a worker sends it. */
async function sent(body = JSON.stringify(job)): Promise<Request> {
  const headers = await signRequest(await key(), { idempotencyKey: "app-17", body });
  return new Request("https://functions.example/", {
    method: "POST",
    body,
    headers: { "Idempotency-Key": "app-17", ...headers },
  });
}

interface Call {
  url: string;
  init: RequestInit & { headers: Record<string, string> };
}

/** A receiver that answers so; what it was called with. */
async function receiver(answer: () => Response): Promise<{ calls: Call[]; callback: Callback }> {
  const calls: Call[] = [];
  const fetch = async (url: string, init: RequestInit) => {
    calls.push({ url, init: init as Call["init"] });
    return answer();
  };
  return { calls, callback: new Callback(await key(), job, { fetch }) };
}

test("a job is what a worker signed", async () => {
  const verifier = new Verifier([await key()]);
  expect(await receiveJob(verifier, await sent())).toEqual({ job, idempotencyKey: "app-17" });
  const request = await sent();
  const headers = Object.fromEntries(request.headers);
  const body = new TextEncoder().encode(JSON.stringify(job));
  expect(await verifyJob(verifier, "POST", headers, body)).toEqual({ job, idempotencyKey: "app-17" });

  const other = JSON.stringify({ ...job, args: { month: "June" } });
  const forged = new Request(request.url, { method: "POST", body: other, headers });
  await expect(receiveJob(verifier, forged)).rejects.toMatchObject({ reason: "wrong" });
  const renamed = { ...headers, "idempotency-key": "app-18" };
  await expect(verifyJob(verifier, "POST", renamed, body)).rejects.toMatchObject({ reason: "wrong" });
  const twice = { ...headers, "idempotency-key": ["app-17", "app-18"] };
  await expect(verifyJob(verifier, "POST", twice, body)).rejects.toMatchObject({ reason: "repeated" });
  const unsigned = new Request(request.url, { method: "POST", body });
  await expect(receiveJob(verifier, unsigned)).rejects.toMatchObject({ reason: "missing" });
  await expect(receiveJob(verifier, await sent("[]"))).rejects.toMatchObject({ code: "client_protocol" });
});

test("a body that is too long is not read to its end", async () => {
  let pulled = 0;
  const endless = new ReadableStream({
    pull: (controller) => {
      pulled++;
      controller.enqueue(new Uint8Array(1000));
    },
  });
  const init = { method: "POST", body: endless, duplex: "half" };
  const request = new Request("https://functions.example/", init);
  const verifier = new Verifier([await key()]);
  await expect(receiveJob(verifier, request, { maxBytes: 5000 })).rejects.toMatchObject({
    code: "client_limit",
  });
  expect(pulled).toBeLessThan(10);
});

test("digits are kept by another parser", async () => {
  const body = '{"job_id":9007199254740993,"kind":"k","args":{}}';
  const parse = (text: string) => JSON.parse(text.replace(/\d{16,}/g, '"$&"'));
  const { job } = await receiveJob(new Verifier([await key()]), await sent(body), { parse });
  expect(job.job_id).toBe("9007199254740993");
});

test("each action is a signed call beside the others", async () => {
  const { calls, callback } = await receiver(() => Response.json({ id: 17, state: "completed" }));
  expect(await callback.complete({ pages: 3 })).toEqual({ id: 17, state: "completed" });
  await callback.fail("no paper", { terminal: true });
  await callback.heartbeat(60, { percent: 50 });
  await callback.resume();
  const verifier = new Verifier([await key()]);
  const bodies = [
    '{"payload":{"pages":3}}',
    '{"error":"no paper","terminal":true}',
    '{"timeout_seconds":60,"progress":{"percent":50}}',
    "{}",
  ];
  for (const [nth, action] of (["complete", "fail", "heartbeat", "resume"] as const).entries()) {
    const { url, init } = calls[nth] as Call;
    expect(url).toBe(`https://callbacks.example/api/callbacks/${ID}/${action}`);
    expect(init).toMatchObject({ method: "POST", body: bodies[nth], redirect: "manual" });
    const body = String(init.body);
    expect(await verifier.call(init.headers, { action, id: ID, body })).toMatchObject({ keyId: "dev" });
  }
});

test("a call that is refused is the server's error", async () => {
  const problem = { code: "callback_gone", title: "The job does not wait for it any more.", status: 410 };
  const refused = await receiver(() => Response.json(problem, { status: 410 }));
  const error = await refused.callback.complete().catch((error) => error);
  expect(error).toBeInstanceOf(RolegateError);
  expect(error).toMatchObject({ code: "callback_gone", status: 410 });
  const moved = await receiver(
    () => new Response(null, { status: 307, headers: { location: "https://x.example" } }),
  );
  await expect(moved.callback.complete()).rejects.toMatchObject({ status: 307 });
  const gone = await receiver(() => {
    throw new TypeError("fetch failed");
  });
  await expect(gone.callback.complete()).rejects.toMatchObject({ code: "client_unreachable" });
  await expect(gone.callback.complete(1, { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
  expect(gone.calls.length).toBe(1);
});

test("a job without a callback has none", async () => {
  const { callback_id, callback_url, ...rest } = job;
  const signer = await key();
  const jobs: Partial<typeof job>[] = [
    rest,
    { ...rest, callback_id },
    { ...job, callback_url: "https://x.example/complete" },
  ];
  for (const without of jobs) {
    expect(() => new Callback(signer, without)).toThrow("no callback");
  }
});

test("the example answers 401 to what no worker sent, and does nothing", async () => {
  const made: string[] = [];
  const make = async (_: unknown, name: string) => {
    made.push(name);
    return { pages: 1 };
  };
  const handle = await reports("08".repeat(32), make, () => {});
  expect((await handle(await sent())).status).toBe(401);
  expect(made).toEqual([]);
});
