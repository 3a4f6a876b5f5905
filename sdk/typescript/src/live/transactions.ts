import { RolegateError } from "../error.js";
import type { Commit, Snapshot } from "./events.js";

/** A transaction's id: `pg_current_xact_id()` as text or bigint, or only its lower 32 bits. */
export type Xid = string | number | bigint;

const LOW = 0xffff_ffffn;
/** Transactions that are remembered for whoever asks after they were seen. */
const MOST_SEEN = 4096;

interface Waiter {
  xid: bigint;
  /** Beginnings of snapshots there had been when the wait began. */
  since: number;
  seen: () => void;
  closed: (error: unknown) => void;
}

/** Which transactions the rows contain, and who waits for one. */
export class Transactions {
  readonly #seen = new Set<bigint>();
  readonly #seenLow = new Set<bigint>();
  readonly #waiters = new Set<Waiter>();
  #visible: Visible | undefined;
  /** Counts what makes the server take a new snapshot. */
  #begun = 0;

  /** Snapshots that come from now on were taken later than everything so far. */
  begin(): void {
    this.#begun += 1;
  }

  snapshot(snapshot: Pick<Snapshot, "visible">): void {
    this.#visible = snapshot.visible === undefined ? undefined : Visible.parse(snapshot.visible);
    const known = this.#visible !== undefined;
    this.#wake((waiter) => (known ? this.has(waiter.xid) : waiter.since < this.#begun));
  }

  commit(commit: Commit): void {
    for (const xid of commit.xids) {
      remember(this.#seen, BigInt(xid));
      remember(this.#seenLow, BigInt(xid) & LOW);
    }
    if (commit.txid !== undefined) remember(this.#seenLow, BigInt(commit.txid));
    this.#wake((waiter) => this.has(waiter.xid));
  }

  has(xid: bigint): boolean {
    return (
      this.#seen.has(xid) || (xid <= LOW && this.#seenLow.has(xid)) || this.#visible?.contains(xid) === true
    );
  }

  /** Resolves when the rows contain it. */
  wait(asked: Xid, timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const xid = toBigInt(asked);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.has(xid)) return resolve();
      const end = () => {
        this.#waiters.delete(waiter);
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const closed = (error: unknown) => {
        end();
        reject(error);
      };
      const seen = () => {
        end();
        resolve();
      };
      const onAbort = () => closed(signal?.reason);
      const waiter: Waiter = { xid, since: this.#begun, seen, closed };
      const timer = setTimeout(() => closed(late(asked, timeoutMs)), timeoutMs);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Nothing comes any more. */
  close(error: unknown): void {
    for (const waiter of [...this.#waiters]) waiter.closed(error);
  }

  #wake(ready: (waiter: Waiter) => boolean): void {
    for (const waiter of [...this.#waiters]) {
      if (ready(waiter)) waiter.seen();
    }
  }
}

/** `xmin:xmax:xip,...`: below the first all are seen, from the second on none, and not those in between. */
class Visible {
  readonly #least: bigint;
  readonly #next: bigint;
  readonly #running: ReadonlySet<bigint>;

  private constructor(least: bigint, next: bigint, running: ReadonlySet<bigint>) {
    this.#least = least;
    this.#next = next;
    this.#running = running;
  }

  static parse(text: string): Visible | undefined {
    const match = /^(\d+):(\d+):((?:\d+(?:,\d+)*)?)$/.exec(text);
    if (!match) return undefined;
    const [, least = "0", next = "0", running = ""] = match;
    const ids = running === "" ? [] : running.split(",").map(BigInt);
    return new Visible(BigInt(least), BigInt(next), new Set(ids));
  }

  contains(asked: bigint): boolean {
    const xid = asked <= LOW ? this.#nearest(asked) : asked;
    return xid < this.#least || (xid < this.#next && !this.#running.has(xid));
  }

  /** The whole id of lower bits: the one that is less than half a turn away. */
  #nearest(low: bigint): bigint {
    const xid = this.#next + BigInt.asIntN(32, low - this.#next);
    return xid < 0n ? low : xid;
  }
}

function remember(seen: Set<bigint>, xid: bigint): void {
  seen.delete(xid);
  seen.add(xid);
  if (seen.size <= MOST_SEEN) return;
  for (const oldest of seen) {
    seen.delete(oldest);
    break;
  }
}

function toBigInt(xid: Xid): bigint {
  if (
    typeof xid === "string"
      ? /^\d+$/.test(xid)
      : typeof xid === "bigint"
        ? xid >= 0n
        : Number.isSafeInteger(xid) && xid >= 0
  ) {
    return BigInt(xid);
  }
  throw new TypeError(`\`${xid}\` is not the id of a transaction`);
}

function late(xid: Xid, ms: number): RolegateError {
  return new RolegateError(`Transaction ${xid} was not seen within ${ms} ms.`, {
    code: "client_timeout",
    hint: "It is seen if it changed a table of the query. Return pg_current_xact_id()::text from the transaction that writes.",
  });
}
