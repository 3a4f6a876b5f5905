import type { Snapshot, WireChange } from "../../src/live/events.js";

export interface Item {
  id: number;
  note: string;
}

/** A row with the key the server gives it. */
export interface Keyed {
  key: string;
  row: Item;
}

export function snapshot(rows: Keyed[], ordered: boolean): Snapshot<Item> {
  return {
    rows: rows.map(({ row }) => row),
    keys: rows.map(({ key }) => key),
    columns: ["id", "note"],
    key: ["id"],
    ordered,
    lsn: "0/1",
    visible: undefined,
  };
}

/** What the contract says the server sends for the way from `old` to `now`, `kept` being what does not move. */
export function changes(
  old: Keyed[],
  now: Keyed[],
  kept: ReadonlySet<string> | undefined,
): WireChange<Item>[] {
  const before = new Map(old.map((item) => [item.key, item.row]));
  const after = new Set(now.map(({ key }) => key));
  const deletes = old
    .filter(({ key }) => !after.has(key))
    .map(({ key, row }): WireChange<Item> => ({
      op: "delete",
      key,
      row,
      old: undefined,
      position: undefined,
    }));
  const others = now.flatMap(({ key, row }, at): WireChange<Item>[] => {
    const was = before.get(key);
    const position = kept && !kept.has(key) ? at : undefined;
    if (was && was.note === row.note && position === undefined) return [];
    return [{ op: was ? "update" : "insert", key, row, old: undefined, position }];
  });
  return [...deletes, ...others];
}

/** Rows of both lists that may stay where they are, as far as `pick` wants: one common subsequence. */
export function subsequence(old: Keyed[], now: Keyed[], pick: (at: number) => boolean): Set<string> {
  const places = new Map(old.map(({ key }, at) => [key, at]));
  const kept = new Set<string>();
  let last = -1;
  now.forEach(({ key }, at) => {
    const place = places.get(key);
    if (place === undefined || place < last || !pick(at)) return;
    kept.add(key);
    last = place;
  });
  return kept;
}
