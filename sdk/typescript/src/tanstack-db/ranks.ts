import type { LiveChange } from "../live/result.js";

/**
 * The order of a query's rows as one number for each, so that a row that moves changes no other.
 *
 * A number belongs to a row as it was written: the collection finds the old row by the old number.
 */
export class Ranks<R extends object, K> {
  readonly #ofRow = new WeakMap<R, number>();
  readonly #ofKey = new Map<K, number>();

  /** Rows that the query does not have yet are last. */
  compare(a: R, b: R): number {
    const [left, right] = [this.#ofRow.get(a), this.#ofRow.get(b)];
    if (left === right) return 0;
    if (left === undefined) return 1;
    return right === undefined ? -1 : left - right;
  }

  /** All rows, in their order. */
  replace(rows: readonly R[], getKey: (row: R) => K): void {
    this.#ofKey.clear();
    rows.forEach((row, rank) => {
      this.#set(row, getKey(row), rank);
    });
  }

  /**
   * Ranks for the rows that changed, the others keep theirs. `rows` are all in their order, the places
   * of `changes` ascend. False if between two rows there is no number left.
   */
  place(changes: readonly LiveChange<R>[], rows: readonly R[], getKey: (row: R) => K): boolean {
    const kept: [LiveChange<R>, number | undefined][] = [];
    for (const change of changes) {
      if (change.op === "insert") continue;
      const key = getKey(change.previous ?? change.row);
      if (change.op === "update" && change.position === undefined) kept.push([change, this.#ofKey.get(key)]);
      this.#ofKey.delete(key);
    }
    for (const [{ row }, rank] of kept) {
      if (rank === undefined) return false;
      this.#set(row, getKey(row), rank);
    }
    const places = changes.flatMap(({ op, position }) =>
      op === "delete" || position === undefined ? [] : [position],
    );
    for (let from = 0; from < places.length;) {
      let to = from + 1;
      while (to < places.length && places[to] === (places[to - 1] as number) + 1) to += 1;
      if (!this.#run(places[from] as number, to - from, rows, getKey)) return false;
      from = to;
    }
    return true;
  }

  /** `count` rows from place `first` on, between the rows around them. */
  #run(first: number, count: number, rows: readonly R[], getKey: (row: R) => K): boolean {
    const rankAt = (place: number) => {
      const row = rows[place];
      return row === undefined ? undefined : this.#ofKey.get(getKey(row));
    };
    const left = rankAt(first - 1);
    const right = rankAt(first + count);
    const low = left ?? (right ?? 0) - count - 1;
    const high = right ?? low + count + 1;
    let last = low;
    for (let n = 1; n <= count; n++) {
      const row = rows[first + n - 1] as R;
      const rank = low + ((high - low) * n) / (count + 1);
      if (rank <= last || rank >= high) return false;
      this.#set(row, getKey(row), rank);
      last = rank;
    }
    return true;
  }

  #set(row: R, key: K, rank: number): void {
    this.#ofRow.set(row, rank);
    this.#ofKey.set(key, rank);
  }
}
