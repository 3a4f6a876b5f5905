import type {
  BaseCollectionConfig,
  CollectionConfig,
  DeleteMutationFnParams,
  InsertMutationFnParams,
  SyncConfig,
  UpdateMutationFnParams,
  UtilsRecord,
} from "@tanstack/db";
import type { Client } from "./client.js";
import { RolegateError } from "./error.js";
import type { LiveStatus } from "./live/stream.js";
import type { Xid } from "./live/transactions.js";
import type { LiveOptions, LiveQuery, LiveUpdate } from "./live.js";
import type { Param } from "./query.js";
import { Ranks } from "./tanstack-db/ranks.js";

/** What a handler that has written gives back: the transactions to wait for. */
export type Written = { txid: Xid | readonly Xid[]; timeoutMs?: number } | void;

/** What `collection.utils` offers. */
export interface RolegateUtils extends UtilsRecord {
  /** Resolves when the collection contains what this transaction wrote. 30 seconds by default. */
  awaitTxId: (txid: Xid, timeoutMs?: number) => Promise<void>;
  /** How it is with the connection. */
  liveStatus: () => LiveStatus;
}

type Base<R extends object, K extends string | number> = Omit<
  BaseCollectionConfig<R, K, never, RolegateUtils>,
  "onInsert" | "onUpdate" | "onDelete" | "syncMode" | "schema" | "utils"
>;

type Connection = "database" | "heartbeatMs" | "backoff" | "maxRows" | "maxEventChars" | "onStatus";

/** A collection of the rows of a live query. */
export interface RolegateCollectionConfig<R extends object, K extends string | number>
  extends Base<R, K>, Pick<LiveOptions<R>, Connection> {
  client: Pick<Client, "live">;
  sql: string;
  params?: readonly Param[];
  /** Tells rows apart; unique among the rows of the query. */
  getKey: (row: R) => K;
  /** Writes, and says by which transaction. The optimistic rows go when that is in the collection. */
  onInsert?: (params: InsertMutationFnParams<R, K, RolegateUtils>) => Promise<Written>;
  onUpdate?: (params: UpdateMutationFnParams<R, K, RolegateUtils>) => Promise<Written>;
  onDelete?: (params: DeleteMutationFnParams<R, K, RolegateUtils>) => Promise<Written>;
}

/**
 * Options for `createCollection` of TanStack DB. The collection has the rows of the query, in its
 * order if it has one (unless `compare` says otherwise), and follows them while it is used. It is
 * ready when the first snapshot is there, and in error when the live query ended for good.
 */
export function collectionOptions<R extends object, K extends string | number>(
  config: RolegateCollectionConfig<R, K>,
): CollectionConfig<R, K, never, RolegateUtils> & { utils: RolegateUtils } {
  const { client, sql, params, onInsert, onUpdate, onDelete, ...rest } = config;
  const { database, heartbeatMs, backoff, maxRows, maxEventChars, onStatus, ...base } = rest;
  const connection = defined({ database, heartbeatMs, backoff, maxRows, maxEventChars, onStatus });
  const ranks = new Ranks<R, K>();
  let running: LiveQuery<R> | undefined;

  const sync: SyncConfig<R, K>["sync"] = (target) => {
    const mirror = new Mirror(config.getKey, target, ranks);
    const live = client.live<R>(sql, params, {
      ...connection,
      onUpdate: (update) => {
        try {
          mirror.take(update, live.ordered);
        } catch (error) {
          // What is in the collection now can't be told from the query's rows: no half measures.
          live.close();
          target.markError(error);
        }
      },
      onError: (error) => target.markError(error),
    });
    running = live;
    return () => {
      if (running === live) running = undefined;
      live.close();
    };
  };

  const utils: RolegateUtils = {
    // What does not follow the database now begins with a snapshot, which has it.
    awaitTxId: async (txid, timeoutMs) =>
      running?.awaitTxid(txid, timeoutMs === undefined ? {} : { timeoutMs }),
    liveStatus: () => running?.status ?? "closed",
  };
  const seen = async (written: Written): Promise<void> => {
    if (!written) return;
    const { txid, timeoutMs } = written;
    const all = typeof txid === "object" ? txid : [txid];
    await Promise.all(all.map((one) => utils.awaitTxId(one, timeoutMs)));
  };
  return {
    compare: (a, b) => ranks.compare(a, b),
    ...base,
    sync: { sync, rowUpdateMode: "full" },
    utils,
    ...(onInsert && { onInsert: async (params) => seen(await onInsert(params)) }),
    ...(onUpdate && { onUpdate: async (params) => seen(await onUpdate(params)) }),
    ...(onDelete && { onDelete: async (params) => seen(await onDelete(params)) }),
  };
}

/** Writes what a live query says into a collection. */
class Mirror<R extends object, K extends string | number> {
  readonly #getKey: (row: R) => K;
  readonly #target: Parameters<SyncConfig<R, K>["sync"]>[0];
  readonly #ranks: Ranks<R, K>;
  readonly #rows = new Map<K, R>();
  #ready = false;

  constructor(getKey: (row: R) => K, target: Parameters<SyncConfig<R, K>["sync"]>[0], ranks: Ranks<R, K>) {
    this.#getKey = getKey;
    this.#target = target;
    this.#ranks = ranks;
  }

  take(update: LiveUpdate<R>, ordered: boolean): void {
    if (update.kind === "snapshot") this.#replace(update.rows, ordered);
    else if (!this.#change(update, ordered)) this.#replace(update.rows, ordered);
  }

  #replace(rows: readonly R[], ordered: boolean): void {
    const { begin, write, truncate, commit, markReady } = this.#target;
    this.#rows.clear();
    for (const row of rows) this.#add(row);
    this.#ranks.replace(ordered ? rows : [], this.#getKey);
    begin();
    if (this.#ready) truncate();
    for (const value of rows) write({ type: "insert", value });
    commit();
    if (!this.#ready) markReady();
    this.#ready = true;
  }

  /** False if the places between rows are used up. */
  #change({ changes, rows }: LiveUpdate<R>, ordered: boolean): boolean {
    const before = new Map<K, R | undefined>();
    const touch = (key: K) => before.has(key) || before.set(key, this.#rows.get(key));
    for (const { op, row, previous = row } of changes) {
      if (op === "insert") continue;
      const key = this.#getKey(previous);
      touch(key);
      this.#rows.delete(key);
    }
    for (const { op, row } of changes) {
      if (op === "delete") continue;
      touch(this.#getKey(row));
      this.#add(row);
    }
    if (ordered && !this.#ranks.place(changes, rows, this.#getKey)) return false;
    const { begin, write, commit } = this.#target;
    begin();
    for (const [key, was] of before) {
      const value = this.#rows.get(key);
      if (value) write({ type: was ? "update" : "insert", value });
      else if (was) write({ type: "delete", key });
    }
    commit();
    return true;
  }

  #add(row: R): void {
    const key = this.#getKey(row);
    if (this.#rows.has(key)) {
      throw new RolegateError(`getKey gives ${JSON.stringify(key)} for two rows of the query.`, {
        code: "client_duplicate_key",
        hint: "Choose columns that tell all rows apart.",
      });
    }
    this.#rows.set(key, row);
  }
}

/** The members that have a value. */
function defined<T extends object>(members: T): { [M in keyof T]?: Exclude<T[M], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as {
    [M in keyof T]?: Exclude<T[M], undefined>;
  };
}
