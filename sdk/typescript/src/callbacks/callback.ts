import { fromResponse, protocol } from "../error.js";
import { abortable, type Fetch, failure } from "../transport.js";
import type { FunctionJob } from "./job.js";
import type { CallbackKey } from "./key.js";
import { type CallbackAction, signCall } from "./signature.js";

/** What the receiver says: the job, and the state it is in. */
export interface CallbackAnswer {
  id: number;
  state: string;
  /** The callback's rules say that this call is not meant. */
  ignored?: boolean;
}

export interface CallOptions {
  signal?: AbortSignal;
}

export interface CallbackOptions {
  fetch?: Fetch;
}

/**
 * The callback of a job, which only its verified request should name: a call goes to the address that is in
 * it. The same call once more does nothing and gets the same answer, so it can be repeated after a
 * connection that broke.
 */
export class Callback {
  readonly #key: CallbackKey;
  readonly #id: string;
  readonly #base: string;
  readonly #fetch: Fetch;

  constructor(
    key: CallbackKey,
    job: Pick<FunctionJob, "callback_id" | "callback_url">,
    options: CallbackOptions = {},
  ) {
    const { callback_id: id, callback_url: url } = job;
    if (id === undefined || !url?.endsWith(`/${id}/complete`)) {
      throw protocol("The job has no callback: its function is not one of the mode async");
    }
    this.#key = key;
    this.#id = id;
    this.#base = url.slice(0, -"complete".length);
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  }

  /** The job is done; the payload is its output. */
  complete(payload?: unknown, options?: CallOptions): Promise<CallbackAnswer> {
    return this.#call("complete", { payload }, options);
  }

  /** The attempt failed: tried again while there are attempts left, unless `terminal`. */
  fail(error: string, options: CallOptions & { terminal?: boolean } = {}): Promise<CallbackAnswer> {
    return this.#call("fail", { error, terminal: options.terminal ?? false }, options);
  }

  /** Somebody is at it: the callback times out so many seconds from now. */
  heartbeat(
    timeoutSeconds?: number,
    progress?: { percent?: number; message?: string },
    options?: CallOptions,
  ): Promise<CallbackAnswer> {
    return this.#call("heartbeat", { timeout_seconds: timeoutSeconds, progress }, options);
  }

  /** The job runs again and finds the payload; only if its callback is resumable. */
  resume(payload?: unknown, options?: CallOptions): Promise<CallbackAnswer> {
    return this.#call("resume", { payload }, options);
  }

  async #call(action: CallbackAction, members: object, options: CallOptions = {}): Promise<CallbackAnswer> {
    const { signal } = options;
    signal?.throwIfAborted();
    const body = JSON.stringify(members);
    const signed = await signCall(this.#key, { action, id: this.#id, body });
    try {
      const sent = this.#fetch(this.#base + action, {
        method: "POST",
        headers: { "Content-Type": "application/json", ...signed },
        body,
        // Nobody else gets what was signed.
        redirect: "manual",
        signal: signal ?? null,
      });
      const response = await abortable(sent, signal);
      if (!response.ok) throw await abortable(fromResponse(response), signal);
      return (await abortable(response.json(), signal)) as CallbackAnswer;
    } catch (error) {
      throw failure(error, signal);
    }
  }
}
