import { fromMembers, isRecord } from "../error.js";
import { type HeaderSource, SignatureRefused, type Verifier, values } from "./verifier.js";

/** What a worker sends to a function. Its type of arguments is a promise of yours: nothing checks it. */
export interface FunctionJob<Args = unknown> {
  job_id: number;
  kind: string;
  args: Args;
  /** 1 for the first. */
  attempt: number;
  /** After so many there is none. */
  max_attempts: number;
  /** In `async` mode. */
  callback_id?: string;
  callback_url?: string;
  /** After a `resume` call. */
  resume?: { callback: string; payload: unknown };
}

/** A job and the name of its work: the same for each attempt, so that it is not done twice. */
export interface ReceivedJob<Args = unknown> {
  job: FunctionJob<Args>;
  idempotencyKey: string;
}

export interface ReceiveOptions {
  /** A longer body is an error. 1 MiB, as much as a worker sends unless it is configured otherwise. */
  maxBytes?: number;
  /** For digits that `JSON.parse` rounds. */
  parse?: (text: string) => unknown;
}

/** The job of a request, if a worker with a key sent it; else it fails with `SignatureRefused`. */
export async function receiveJob<Args = unknown>(
  verifier: Verifier,
  request: Request,
  options: ReceiveOptions = {},
): Promise<ReceivedJob<Args>> {
  const body = await readAll(request, options.maxBytes ?? 1024 * 1024);
  return verifyJob(verifier, request.method, request.headers, body, options.parse);
}

/** The same for a request that something else has read, such as Node's `IncomingMessage`. */
export async function verifyJob<Args = unknown>(
  verifier: Verifier,
  method: string,
  headers: HeaderSource,
  body: Uint8Array,
  parse: (text: string) => unknown = JSON.parse,
): Promise<ReceivedJob<Args>> {
  const [idempotencyKey = "", another] = values(headers, "Idempotency-Key");
  if (another !== undefined) throw new SignatureRefused("repeated");
  await verifier.request(headers, { method, idempotencyKey, body });
  const job = parse(new TextDecoder().decode(body));
  if (!isRecord(job) || typeof job.kind !== "string") {
    throw fromMembers({ code: "client_protocol", title: "What was signed is no job" }, 0);
  }
  return { job: job as unknown as FunctionJob<Args>, idempotencyKey };
}

/** Gives up as soon as it is too much: whoever sends it has not shown a key yet. */
async function readAll(request: Request, most: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = request.body?.getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > most) {
      await reader.cancel();
      throw fromMembers({ code: "client_limit", title: `The request is longer than ${most} bytes` }, 0);
    }
    chunks.push(value);
  }
  const whole = new Uint8Array(length);
  chunks.reduce((at, chunk) => (whole.set(chunk, at), at + chunk.length), 0);
  return whole;
}
