import { RolegateError, unreachable } from "./error.js";
import type { BackoffOptions } from "./live/backoff.js";
import type { Commit, Snapshot, WireChange } from "./live/events.js";
import { type LiveChange, Result } from "./live/result.js";
import { type Listener, type LiveStatus, Stream } from "./live/stream.js";
import { Transactions, type Xid } from "./live/transactions.js";
import type { Parse, Row } from "./query.js";
import type { Transport } from "./transport.js";

/** The rows as they are now, and what made them so. */
export interface LiveUpdate<R = Row> {
  /** `snapshot`: all rows are new, the first time and after continuity was lost. */
  kind: "snapshot" | "commit";
  rows: readonly R[];
  /** What the commit changed; empty for a snapshot. */
  changes: readonly LiveChange<R>[];
  /** The rows are at least as new as this. */
  lsn: string;
}

export interface LiveOptions<R = Row> {
  /** Closes the live query. */
  signal?: AbortSignal;
  /** Another database than the client's. */
  database?: string;
  /** Called with the first rows and after each commit that changed some. */
  onUpdate?: (update: LiveUpdate<R>) => void;
  /** Called when the status changes; with what broke the connection, if something did. */
  onStatus?: (status: LiveStatus, error?: RolegateError) => void;
  /** Called once, with the error that ended the live query. It is not called for what is tried again. */
  onError?: (error: RolegateError) => void;
  /** How often the server sends something at least, 15 seconds by default. After 2.5 times as long in silence the client connects again. */
  heartbeatMs?: number;
  backoff?: BackoffOptions;
  /** Rows, and changes of one commit, that are held; 100,000 by default. More end the live query with `client_limit`. */
  maxRows?: number;
  /** Characters in one event, the snapshot among them; 64 Mi by default. */
  maxEventChars?: number;
}

export interface AwaitOptions {
  /** 30 seconds by default. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/**
 * A query whose rows follow the database. It runs from the moment it is made until `close()`, its
 * signal, or an error that no second try makes better.
 *
 * As an async iterator it gives the rows as they are, now and after each change. Who is slow gets the
 * newest and misses those in between. Leaving the loop closes the live query.
 */
export class LiveQuery<R extends object = Row> implements AsyncIterable<readonly R[]> {
  readonly #closing = new AbortController();
  readonly #transactions = new Transactions();
  readonly #result: Result<R>;
  readonly #options: LiveOptions<R>;
  /** Who waits for the next update. */
  #waiting = new Set<() => void>();
  /** Updates so far. */
  #version = 0;
  #status: LiveStatus = "connecting";
  #error: RolegateError | undefined;
  #lsn: string | undefined;
  /** Resolves when nothing comes any more, with the error if there was one. */
  readonly closed: Promise<RolegateError | undefined>;

  /** Made by `client.live`. */
  constructor(transport: Transport, body: string, options: LiveOptions<R>, parse: Parse) {
    this.#options = options;
    this.#result = new Result(options.maxRows ?? 100_000);
    const settings = {
      heartbeatMs: options.heartbeatMs ?? 15_000,
      backoff: options.backoff,
      maxEventChars: options.maxEventChars ?? 64 * 1024 * 1024,
      parse,
    };
    const stream = new Stream<R>(transport, body, settings, this.#listener(), this.#closing.signal);
    this.closed = this.#run(stream);
  }

  /** The rows, in the query's order if it has one. Empty until the first snapshot. */
  get rows(): readonly R[] {
    return this.#result.list;
  }

  get status(): LiveStatus {
    return this.#status;
  }

  /** What ended the live query. */
  get error(): RolegateError | undefined {
    return this.#error;
  }

  /** The rows are at least as new as this. */
  get lsn(): string | undefined {
    return this.#lsn;
  }

  /** Whether the query says in which order rows come. */
  get ordered(): boolean {
    return this.#result.ordered;
  }

  /**
   * Resolves when the rows contain what this transaction wrote. It has to have changed a table of the
   * query, or there is nothing to see.
   */
  async awaitTxid(xid: Xid, options: AwaitOptions = {}): Promise<void> {
    if (this.#status === "closed") throw this.#error ?? closed();
    return this.#transactions.wait(xid, options.timeoutMs ?? 30_000, options.signal);
  }

  close(): void {
    this.#closing.abort();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly R[], void, void> {
    let seen = 0;
    try {
      for (;;) {
        while (this.#version === seen && this.#status !== "closed") await this.#next();
        if (this.#version === seen) break;
        seen = this.#version;
        yield this.rows;
      }
    } finally {
      this.close();
      await this.closed;
    }
    if (this.#error) throw this.#error;
  }

  #next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const resolve of waiting) resolve();
  }

  async #run(stream: Stream<R>): Promise<RolegateError | undefined> {
    const { signal } = this.#options;
    const onAbort = () => this.close();
    if (signal?.aborted) this.close();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      // After the constructor: callbacks may use the live query.
      await Promise.resolve();
      if (!this.#closing.signal.aborted) await stream.run();
    } catch (error) {
      this.#error = error instanceof RolegateError ? error : unreachable(error);
    }
    signal?.removeEventListener("abort", onAbort);
    this.#transactions.close(this.#error ?? closed());
    this.#setStatus("closed", this.#error);
    const { onError } = this.#options;
    if (this.#error && onError) guarded(() => onError(this.#error as RolegateError));
    this.#wake();
    return this.#error;
  }

  #listener(): Listener<R> {
    return {
      begin: () => this.#transactions.begin(),
      bound: (changes) => this.#result.bound(changes),
      snapshot: (snapshot) => this.#snapshot(snapshot),
      commit: (changes, commit) => this.#commit(changes, commit),
      status: (status, error) => this.#setStatus(status, error),
    };
  }

  #snapshot(snapshot: Snapshot<R>): void {
    this.#result.snapshot(snapshot);
    this.#update({ kind: "snapshot", rows: this.rows, changes: [], lsn: snapshot.lsn });
    this.#transactions.snapshot(snapshot);
  }

  #commit(wire: readonly WireChange<R>[], commit: Commit): void {
    const changes = this.#result.apply(wire);
    this.#lsn = commit.lsn;
    if (changes.length > 0) this.#update({ kind: "commit", rows: this.rows, changes, lsn: commit.lsn });
    this.#transactions.commit(commit);
  }

  #update(update: LiveUpdate<R>): void {
    this.#lsn = update.lsn;
    this.#version += 1;
    const { onUpdate } = this.#options;
    if (onUpdate) guarded(() => onUpdate(update));
    this.#wake();
  }

  #setStatus(status: LiveStatus, error?: RolegateError): void {
    if (status === this.#status && !error) return;
    this.#status = status;
    const { onStatus } = this.#options;
    if (onStatus) guarded(() => onStatus(status, error));
  }
}

/** An error of a callback is the application's: it is reported as uncaught, and the rows go on. */
function guarded(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

function closed(): RolegateError {
  return new RolegateError("The live query is closed.", { code: "client_closed" });
}
