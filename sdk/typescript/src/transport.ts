import { RolegateError, unreachable } from "./error.js";

/**
 * The bearer token, or what gives it. A function is asked before each request and each time a live
 * query connects; with `rejected` when the server has just refused what it gave.
 */
export type Token = string | ((why: { rejected: boolean }) => string | Promise<string>);

export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** A request below the server's URL. */
export interface Outgoing {
  path: string;
  body: string;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** Sends requests with the token, and a second time with a new one if it was refused. */
export class Transport {
  readonly #url: string;
  readonly #token: Token | undefined;
  readonly #fetch: Fetch;

  constructor(url: string, token: Token | undefined, fetch: Fetch | undefined) {
    this.#url = url.replace(/\/+$/, "");
    this.#token = token;
    this.#fetch = fetch ?? ((input, init) => globalThis.fetch(input, init));
  }

  /** The answer, whatever its status. `rejected` if the last token was refused already. */
  async send(outgoing: Outgoing, rejected = false): Promise<Response> {
    const response = await this.#once(outgoing, rejected);
    if (response.status !== 401 || rejected || typeof this.#token !== "function") return response;
    await response.body?.cancel();
    return this.#once(outgoing, true);
  }

  /** Whether a refused token can be followed by another. */
  get renews(): boolean {
    return typeof this.#token === "function";
  }

  async #once(outgoing: Outgoing, rejected: boolean): Promise<Response> {
    const { path, body, signal } = outgoing;
    signal?.throwIfAborted();
    const token = await abortable(this.#bearer(rejected), signal);
    const headers: Record<string, string> = { "content-type": "application/json", ...outgoing.headers };
    if (token) headers.authorization = `Bearer ${token}`;
    try {
      // Also if this fetch takes no notice of the signal.
      const sent = this.#fetch(`${this.#url}/${path}`, {
        method: "POST",
        headers,
        body,
        signal: signal ?? null,
      });
      return await abortable(sent, signal);
    } catch (error) {
      throw failure(error, signal);
    }
  }

  async #bearer(rejected: boolean): Promise<string | undefined> {
    return typeof this.#token === "function" ? this.#token({ rejected }) : this.#token;
  }
}

/** What broke a transfer: the caller's own abort as it is, everything else as an error of ours. */
export function failure(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  return error instanceof RolegateError ? error : unreachable(error);
}

/** The promise, or the signal's reason if that is first. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
