import { fromMembers, fromResponse, protocol, RolegateError, unreachable } from "../error.js";
import type { Parse } from "../query.js";
import { abortable, failure, type Transport } from "../transport.js";
import { Backoff, type BackoffOptions } from "./backoff.js";
import { type Commit, read, type Snapshot, type WireChange } from "./events.js";
import { type SseEvent, SseParser } from "./sse.js";

/**
 * - `connecting`: the first snapshot is on its way
 * - `live`: the rows follow the database
 * - `reconnecting`: the connection broke; the rows are those of then
 * - `closed`: nothing comes any more
 */
export type LiveStatus = "connecting" | "live" | "reconnecting" | "closed";

/** What a stream makes of a live query. A method that throws lets the stream begin again. */
export interface Listener<R> {
  snapshot(snapshot: Snapshot<R>): void;
  commit(changes: readonly WireChange<R>[], commit: Commit): void;
  /** Fails if so many changes are more than it holds. */
  bound(changes: number): void;
  /** A later snapshot than all so far was asked for. */
  begin(): void;
  status(status: LiveStatus, error?: RolegateError): void;
}

export interface StreamOptions {
  /** How often the server sends something at least. */
  heartbeatMs: number;
  backoff: BackoffOptions | undefined;
  maxEventChars: number;
  parse: Parse;
}

/** A stream that lived as long was a good one; a server that drops all of them at once is not asked so often. */
const GOOD_MS = 10_000;

/** What another stream would only bring again. */
const LASTING = new Set(["client_limit", "client_duplicate_key"]);

/** Statuses below 500 that may be another the next time. */
const PASSING = new Set([408, 409, 410, 421, 425, 429]);

/** One live query's stream, connected again after whatever can get better. */
export class Stream<R> {
  readonly #transport: Transport;
  readonly #body: string;
  readonly #options: StreamOptions;
  readonly #listener: Listener<R>;
  readonly #signal: AbortSignal;
  readonly #backoff: Backoff;
  /** The `id:` of the last event that was taken. */
  #cursor: string | undefined;
  /** Changes since then, which count once their commit is here. */
  #changes: WireChange<R>[] = [];
  #hasSnapshot = false;
  #wasLive = false;
  /** The last connection got as far as a stream. */
  #open = false;
  /** The server refused the token while the last stream was open. */
  #rejected = false;

  constructor(
    transport: Transport,
    body: string,
    options: StreamOptions,
    listener: Listener<R>,
    signal: AbortSignal,
  ) {
    this.#transport = transport;
    this.#body = body;
    this.#options = options;
    this.#listener = listener;
    this.#signal = signal;
    this.#backoff = new Backoff(options.backoff);
  }

  /** Until the signal; rejects with what can't get better. */
  async run(): Promise<void> {
    this.#listener.status("connecting");
    for (;;) {
      const began = Date.now();
      const error = await this.#connection();
      if (this.#signal.aborted) return;
      if (!this.#passing(error)) throw error;
      if (Date.now() - began >= GOOD_MS) this.#backoff.reset();
      this.#listener.status(this.#wasLive ? "reconnecting" : "connecting", error);
      await sleep(this.#backoff.next(error.retryAfterMs), this.#signal);
      if (this.#signal.aborted) return;
    }
  }

  /** One connection, and why it ended. */
  async #connection(): Promise<RolegateError> {
    const own = new AbortController();
    const onAbort = () => own.abort(this.#signal.reason);
    this.#signal.addEventListener("abort", onAbort, { once: true });
    const watchdog = new Watchdog(this.#options.heartbeatMs * 2.5, own);
    try {
      await this.#follow(own.signal, watchdog);
      return unreachable(new Error("the stream ended"));
    } catch (error) {
      const reason = failure(error, own.signal);
      if (!(reason instanceof RolegateError)) return unreachable(reason);
      // What was held may not fit to what comes: from the beginning.
      if (reason.code === "client_protocol") this.#forget();
      return reason;
    } finally {
      watchdog.end();
      this.#signal.removeEventListener("abort", onAbort);
      own.abort(unreachable(new Error("the stream ended")));
    }
  }

  async #follow(signal: AbortSignal, watchdog: Watchdog): Promise<void> {
    this.#changes = [];
    this.#hasSnapshot = this.#cursor !== undefined;
    this.#open = false;
    this.#listener.begin();
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (this.#cursor !== undefined) headers["last-event-id"] = this.#cursor;
    const outgoing = { path: "query?live=true", body: this.#body, headers, signal };
    const rejected = this.#rejected;
    this.#rejected = false;
    const response = await this.#transport.send(outgoing, rejected);
    watchdog.alive();
    if (!response.ok) throw await fromResponse(response);
    const type = response.headers.get("content-type") ?? "";
    if (!response.body || !/^text\/event-stream\b/i.test(type)) {
      throw protocol(`The answer to a live query is not a stream of events but \`${type}\`.`);
    }
    this.#open = true;
    if (this.#cursor !== undefined) this.#live();
    await this.#events(response.body.getReader(), signal, watchdog);
  }

  async #events(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    signal: AbortSignal,
    watchdog: Watchdog,
  ): Promise<void> {
    const decoder = new TextDecoder();
    const parser = new SseParser(this.#options.maxEventChars);
    try {
      for (;;) {
        const { done, value } = await abortable(reader.read(), signal);
        if (done) return;
        watchdog.alive();
        for (const event of parser.push(decoder.decode(value, { stream: true }))) {
          this.#take(event);
          if (signal.aborted) throw signal.reason;
        }
        if (parser.retryMs !== undefined) this.#backoff.baseMs = parser.retryMs;
      }
    } finally {
      // Not awaited: a reader whose connection hangs may never say that it has ended.
      reader.cancel().catch(() => {});
    }
  }

  #take(raw: SseEvent): void {
    const event = read<R>(raw, this.#options.parse);
    switch (event.type) {
      case "snapshot":
        this.#listener.snapshot(event.snapshot);
        this.#changes = [];
        this.#hasSnapshot = true;
        this.#cursor = raw.lastId || undefined;
        this.#live();
        break;
      case "change":
        this.#changes.push(event.change);
        this.#listener.bound(this.#changes.length);
        break;
      case "commit": {
        if (!this.#hasSnapshot) throw protocol("A commit came before the snapshot.");
        const changes = this.#changes;
        this.#changes = [];
        this.#listener.commit(changes, event.commit);
        this.#cursor = raw.lastId || undefined;
        break;
      }
      case "reset":
        this.#forget();
        if (this.#wasLive) this.#listener.status("reconnecting");
        this.#listener.begin();
        break;
      case "error":
        throw fromMembers(event.problem, 0);
    }
  }

  #live(): void {
    this.#wasLive = true;
    this.#listener.status("live");
  }

  /** The next stream, or the rest of this one, begins with a snapshot. */
  #forget(): void {
    this.#cursor = undefined;
    this.#hasSnapshot = false;
    this.#changes = [];
  }

  /** Whether the next try may go better. */
  #passing(error: RolegateError): boolean {
    if (LASTING.has(error.code)) return false;
    // A page of something between here and the server, or no Rolegate at all.
    if (error.code === "client_protocol") return this.#wasLive;
    if (error.status === 401) {
      // Before the stream began a second token was refused as well; on an open one the first has expired.
      this.#rejected = this.#open && this.#transport.renews;
      return this.#rejected;
    }
    return error.status === 0 || error.status >= 500 || PASSING.has(error.status);
  }
}

/** Ends a connection that says nothing any more. */
class Watchdog {
  readonly #ms: number;
  readonly #connection: AbortController;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number, connection: AbortController) {
    this.#ms = ms;
    this.#connection = connection;
    this.alive();
  }

  alive(): void {
    this.end();
    const silent = () => new RolegateError(`Nothing came for ${this.#ms} ms.`, { code: "client_silent" });
    this.#timer = setTimeout(() => this.#connection.abort(silent()), this.#ms);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
