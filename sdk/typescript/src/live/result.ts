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

/**
 * The rows of a live query. What can't be applied is an error, after which nothing that is held here
 * is to be believed: the stream begins again with a snapshot.
 */
export class Result<R extends object = Row> {
  readonly #most: number;
  #rows = new Map<string, R>();
  /** Keys in the query's order, if it has one. */
  #order: string[] | undefined;
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
    const rows = new Map(snapshot.rows.map((row, at) => [keys[at] as string, row]));
    if (rows.size !== keys.length) throw snapshot.keys ? protocol("Two rows have one key.") : rounded();
    this.#rows = rows;
    this.#keyOf = snapshot.keys ? undefined : ownKey(snapshot.key);
    this.#order = snapshot.ordered ? keys : undefined;
    this.#list = snapshot.rows;
  }

  /** Applies the changes of one commit, and says what they did. */
  apply(wire: readonly WireChange<R>[]): LiveChange<R>[] {
    if (wire.length === 0) return [];
    const changes = this.#keyOf ? wire.map((change) => this.#known(change)) : wire;
    const applied = this.#remove(changes);
    this.bound(this.#rows.size);
    if (this.#order) this.#order = placed(this.#order, changes);
    this.#list = this.#order ? this.#order.map((key) => this.#rows.get(key) as R) : [...this.#rows.values()];
    return applied;
  }

  #known(change: WireChange<R>): WireChange<R> {
    if (change.old !== undefined)
      throw protocol("A row has another key, and the snapshot did not say which.");
    return { ...change, key: this.#keyOf?.(change.row, change.key) ?? change.key };
  }

  /** Fails if there are more rows than that. */
  bound(count: number): void {
    if (count <= this.#most) return;
    throw new RolegateError(`The query has more than ${this.#most} rows.`, {
      code: "client_limit",
      hint: "Ask for fewer rows, or raise maxRows.",
    });
  }

  /** Rows leave and come in two passes: a key that one row gives up may be another's in the same commit. */
  #remove(changes: readonly WireChange<R>[]): LiveChange<R>[] {
    const before = new Map<WireChange<R>, R>();
    for (const change of changes) {
      if (change.op === "insert") continue;
      const key = change.op === "update" ? (change.old ?? change.key) : change.key;
      const row = this.#rows.get(key);
      if (row === undefined)
        throw protocol(`A change is about a row that is not there: ${change.op} of ${key}.`);
      before.set(change, row);
      if (change.op === "delete" || key !== change.key) this.#rows.delete(key);
    }
    return changes.map((change) => {
      const { op, key, row } = change;
      const previous = before.get(change);
      if (op === "delete") return { op, key, row: previous ?? row };
      const stays = op === "update" && (change.old ?? key) === key;
      if (this.#rows.has(key) !== stays)
        throw protocol(`A change makes a second row of one key: ${op} of ${key}.`);
      this.#rows.set(key, row);
      const applied: LiveChange<R> = { op, key, row };
      if (previous !== undefined) applied.previous = previous;
      if (change.position !== undefined) applied.position = change.position;
      return applied;
    });
  }
}

/**
 * The order after a commit: what was deleted or moved is taken out, then each row that came or moved
 * is put at its place, places ascending. One pass, however many moved.
 */
function placed<R>(order: readonly string[], changes: readonly WireChange<R>[]): string[] {
  const gone = new Set<string>();
  const renamed = new Map<string, string>();
  const puts: { key: string; position: number }[] = [];
  for (const { op, key, old = key, position } of changes) {
    if (op !== "insert" && (op === "delete" || position !== undefined)) gone.add(old);
    else if (op === "update" && old !== key) renamed.set(old, key);
    if (op === "delete") continue;
    if (position !== undefined) puts.push({ key, position });
    else if (op === "insert")
      throw protocol(`A row of a query with an order has no place: insert of ${key}.`);
  }
  const kept = order.filter((key) => !gone.has(key)).map((key) => renamed.get(key) ?? key);
  const result: string[] = [];
  let next = 0;
  for (const { key, position } of puts) {
    while (result.length < position && next < kept.length) result.push(kept[next++] as string);
    if (result.length !== position) throw protocol(`A row can't be put at place ${position}: ${key}.`);
    result.push(key);
  }
  while (next < kept.length) result.push(kept[next++] as string);
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
