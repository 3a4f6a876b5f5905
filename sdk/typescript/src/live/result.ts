import { protocol, RolegateError } from "../error.js";
import type { Row } from "../query.js";
import type { Snapshot, WireChange } from "./events.js";

/** A change that was applied to the rows. */
export interface LiveChange<R = Row> {
  op: "insert" | "update" | "delete";
  /** The row's key as text. */
  key: string;
  /** The row now, or as it was if it was deleted. */
  row: R;
  /** As it was before an update. */
  previous?: R;
  /** Its place, if the query has an order and it was put there now. */
  position?: number;
}

/** A row, and what it is known by. */
interface Entry<R> {
  key: string;
  row: R;
  /** It was deleted, or is put somewhere else. */
  out: boolean;
}

/**
 * The rows of a live query. What can't be applied is an error, after which nothing that is held here
 * is to be believed: the stream begins again with a snapshot.
 */
export class Result<R extends object = Row> {
  readonly #most: number;
  #rows = new Map<string, Entry<R>>();
  /** The query's order, if it has one. */
  #order: Entry<R>[] | undefined;
  #list: readonly R[] = [];
  #keyOf: KeyOf<R> | undefined;

  /** At most that many rows. */
  constructor(most: number) {
    this.#most = most;
  }

  /** The rows, as a new array after each change; in the query's order if it has one. */
  get list(): readonly R[] {
    return this.#list;
  }

  get ordered(): boolean {
    return this.#order !== undefined;
  }

  snapshot(snapshot: Snapshot<R>): void {
    this.bound(snapshot.rows.length);
    const keys = snapshot.keys ?? ownKeys(snapshot);
    const entries = snapshot.rows.map((row, at) => ({ key: keys[at] as string, row, out: false }));
    const rows = new Map(entries.map((entry) => [entry.key, entry]));
    if (rows.size !== keys.length) throw snapshot.keys ? protocol("Two rows have one key.") : rounded();
    this.#rows = rows;
    this.#order = snapshot.ordered ? entries : undefined;
    this.#list = snapshot.rows;
    this.#keyOf = snapshot.keys ? undefined : ownKey(snapshot.key);
  }

  /** Applies the changes of one commit, and says what they did. */
  apply(wire: readonly WireChange<R>[]): LiveChange<R>[] {
    if (wire.length === 0) return [];
    const changes = this.#keyOf ? wire.map((change) => this.#known(change)) : wire;
    // Rows leave and come in two passes: a key that one gives up may be another's in the same commit.
    const before = this.#leave(changes);
    const applied = changes.map((change) => this.#come(change, before.get(change)));
    this.bound(this.#rows.size);
    if (this.#order) this.#order = placed(this.#order, changes, this.#rows);
    this.#list = (this.#order ?? [...this.#rows.values()]).map(({ row }) => row);
    return applied;
  }

  /** Fails if there are more rows than that. */
  bound(count: number): void {
    if (count <= this.#most) return;
    throw new RolegateError(`The query has more than ${this.#most} rows.`, {
      code: "client_limit",
      hint: "Ask for fewer rows, or raise maxRows.",
    });
  }

  #known(change: WireChange<R>): WireChange<R> {
    if (change.old !== undefined)
      throw protocol("A row has another key, and the snapshot did not say which.");
    return { ...change, key: this.#keyOf?.(change.row, change.key) ?? change.key };
  }

  #leave(changes: readonly WireChange<R>[]): Map<WireChange<R>, Entry<R>> {
    const before = new Map<WireChange<R>, Entry<R>>();
    for (const change of changes) {
      const { op, key: now, old = now, position } = change;
      if (op === "insert") continue;
      const key = op === "update" ? old : now;
      const entry = this.#rows.get(key);
      if (!entry) throw protocol(`A change is about a row that is not there: ${op} of ${key}.`);
      before.set(change, entry);
      entry.out = op === "delete" || position !== undefined;
      if (op === "delete" || key !== now) this.#rows.delete(key);
    }
    return before;
  }

  #come({ op, key, row, position }: WireChange<R>, before: Entry<R> | undefined): LiveChange<R> {
    if (op === "delete") return { op, key, row: before?.row ?? row };
    const stays = before?.key === key;
    if (this.#rows.has(key) !== stays)
      throw protocol(`A change makes a second row of one key: ${op} of ${key}.`);
    const applied: LiveChange<R> = { op, key, row };
    if (before) applied.previous = before.row;
    if (position !== undefined) applied.position = position;
    // An entry that is put elsewhere is a new one; the old one is taken out of the order.
    if (before && !before.out) this.#rows.set(key, Object.assign(before, { key, row }));
    else this.#rows.set(key, { key, row, out: false });
    return applied;
  }
}

/**
 * The order after a commit: what was deleted or moved is taken out, then each row that came or moved
 * is put at its place, places ascending. One pass, however many moved.
 */
function placed<R>(
  order: readonly Entry<R>[],
  changes: readonly WireChange<R>[],
  rows: ReadonlyMap<string, Entry<R>>,
): Entry<R>[] {
  const kept = order.filter(({ out }) => !out);
  const result: Entry<R>[] = [];
  let next = 0;
  for (const { op, key, position } of changes) {
    if (op === "delete" || (op === "update" && position === undefined)) continue;
    if (position === undefined)
      throw protocol(`A row of a query with an order has no place: insert of ${key}.`);
    while (result.length < position && next < kept.length) result.push(kept[next++] as Entry<R>);
    if (result.length !== position) throw protocol(`A row can't be put at place ${position}: ${key}.`);
    result.push(rows.get(key) as Entry<R>);
  }
  while (next < kept.length) result.push(kept[next++] as Entry<R>);
  return result;
}

/** Numbers that are the same for JavaScript, and were not for PostgreSQL. */
function rounded(): RolegateError {
  return new RolegateError("Two rows can't be told apart, because their numbers are rounded.", {
    code: "client_duplicate_key",
    hint: "Select large numbers as text, such as id::text, or give the client a `parse` that keeps every digit.",
  });
}

/** What a row is known by here. */
type KeyOf<R> = (row: R, key: string) => string;

/** A server that does not say the keys of a snapshot's rows: both get one that is made of the row. */
function ownKey<R extends object>(columns: readonly string[] | null): KeyOf<R> {
  if (columns) return (row) => JSON.stringify(columns.map((column) => (row as Row)[column]));
  // Equal rows have numbers behind their hash, in the order of the rows.
  return (row, key) => JSON.stringify(row) + key.slice(key.lastIndexOf("#"));
}

function ownKeys<R extends object>({ rows, key }: Snapshot<R>): string[] {
  const keyOf = ownKey<R>(key);
  const counts = new Map<string, number>();
  return rows.map((row) => {
    const content = keyOf(row, "#");
    const count = (counts.get(content) ?? 0) + 1;
    counts.set(content, count);
    return key ? content : content + count;
  });
}
