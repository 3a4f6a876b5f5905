import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { WireChange } from "../src/live/events.js";
import { Result } from "../src/live/result.js";
import { changes, type Item, type Keyed, snapshot, subsequence } from "./support/contract.js";

const rows = fc
  .uniqueArray(fc.record({ id: fc.nat({ max: 20 }), note: fc.constantFrom("a", "b", "c") }), {
    selector: ({ id }) => id,
    maxLength: 15,
  })
  .map((items) => items.map((row): Keyed => ({ key: String(row.id), row })));
const lists = fc.array(rows, { minLength: 2, maxLength: 6 });

describe("applying changes", () => {
  test("gives the new rows exactly, in their order", () => {
    const picks = fc.infiniteStream(fc.boolean());
    const run = fc.property(lists, picks, ([first = [], ...rest], pick) => {
      const result = new Result<Item>(1000);
      result.snapshot(snapshot(first, true));
      let old = first;
      for (const now of rest) {
        const kept = subsequence(old, now, () => pick.next().value);
        const applied = result.apply(changes(old, now, kept));
        expect(result.list).toEqual(now.map(({ row }) => row));
        expect(applied.length).toBe(changes(old, now, kept).length);
        old = now;
      }
    });
    fc.assert(run, { numRuns: 500 });
  });

  test("gives the new rows exactly, without an order", () => {
    const run = fc.property(lists, ([first = [], ...rest]) => {
      const result = new Result<Item>(1000);
      result.snapshot(snapshot(first, false));
      let old = first;
      for (const now of rest) {
        result.apply(changes(old, now, undefined));
        const byId = (a: Item, b: Item) => a.id - b.id;
        expect([...result.list].sort(byId)).toEqual(now.map(({ row }) => row).sort(byId));
        old = now;
      }
    });
    fc.assert(run, { numRuns: 300 });
  });

  test("keeps count of equal rows", () => {
    const bag = fc.array(fc.constantFrom("a", "b"), { maxLength: 8 });
    const keyed = (notes: string[]): Keyed[] => {
      const counts = new Map<string, number>();
      return notes.map((note) => {
        const count = (counts.get(note) ?? 0) + 1;
        counts.set(note, count);
        return { key: `hash-${note}#${count}`, row: { id: 0, note } };
      });
    };
    const run = fc.property(bag, bag, fc.boolean(), (before, after, ordered) => {
      const [old, now] = [keyed(before), keyed(after)];
      const result = new Result<Item>(1000);
      result.snapshot({ ...snapshot(old, ordered), key: null });
      result.apply(changes(old, now, ordered ? subsequence(old, now, () => true) : undefined));
      const notes = result.list.map(({ note }) => note);
      if (ordered) expect(notes).toEqual(after);
      else expect(notes.sort()).toEqual([...after].sort());
    });
    fc.assert(run, { numRuns: 300 });
  });

  test("renames a row, and lets another have its key in the same commit", () => {
    for (const ordered of [false, true]) {
      const result = new Result<Item>(10);
      const [one, two] = [
        { id: 1, note: "one" },
        { id: 2, note: "two" },
      ];
      const first = [
        { key: "1", row: one },
        { key: "2", row: two },
      ];
      result.snapshot(snapshot(first, ordered));
      const applied = result.apply([
        { op: "update", key: "2", old: "1", row: { id: 2, note: "one" }, position: undefined },
        { op: "update", key: "1", old: "2", row: { id: 1, note: "two" }, position: undefined },
      ]);
      expect(applied.map(({ previous }) => previous)).toEqual([one, two]);
      expect(new Set(result.list)).toEqual(
        new Set([
          { id: 2, note: "one" },
          { id: 1, note: "two" },
        ]),
      );
      if (ordered) expect(result.list.map(({ note }) => note)).toEqual(["one", "two"]);
    }
  });

  test("makes a new array each time, and none for nothing", () => {
    const result = new Result<Item>(10);
    result.snapshot(snapshot([{ key: "1", row: { id: 1, note: "a" } }], false));
    const first = result.list;
    result.apply([]);
    expect(result.list).toBe(first);
    result.apply([
      { op: "update", key: "1", old: undefined, row: { id: 1, note: "b" }, position: undefined },
    ]);
    expect(first).toEqual([{ id: 1, note: "a" }]);
    expect(result.list).toEqual([{ id: 1, note: "b" }]);
  });
});

describe("what does not fit is an error", () => {
  const one = { key: "1", row: { id: 1, note: "a" } };
  const change = (more: Partial<WireChange<Item>>): WireChange<Item> => ({
    op: "insert",
    key: "1",
    row: one.row,
    old: undefined,
    position: undefined,
    ...more,
  });
  const cases: [string, boolean, WireChange<Item>][] = [
    ["an insert of a row that is there", false, change({})],
    ["an update of one that is not", false, change({ op: "update", key: "2" })],
    ["a delete of one that is not", false, change({ op: "delete", key: "2" })],
    ["an update of a key that is not", false, change({ op: "update", old: "2" })],
    ["an insert without a place", true, change({ key: "2" })],
    ["a place behind the end", true, change({ key: "2", position: 5 })],
  ];
  test.each(cases)("%s", (_, ordered, wrong) => {
    const result = new Result<Item>(10);
    result.snapshot(snapshot([one], ordered));
    expect(() => result.apply([wrong])).toThrow(expect.objectContaining({ code: "client_protocol" }));
    expect(result.list).toEqual([one.row]);
  });

  test("places that do not ascend", () => {
    const result = new Result<Item>(10);
    result.snapshot(snapshot([one], true));
    const wrong = [change({ key: "2", position: 1 }), change({ key: "3", position: 0 })];
    expect(() => result.apply(wrong)).toThrow(/place 0/);
  });

  test("two rows of one key in a snapshot", () => {
    const result = new Result<Item>(10);
    expect(() => result.snapshot(snapshot([one, one], false))).toThrow(/one key/);
  });

  test("more rows than may be held", () => {
    const result = new Result<Item>(1);
    expect(() => result.snapshot(snapshot([one, { ...one, key: "2" }], false))).toThrow(/more than 1 rows/);
    result.snapshot(snapshot([one], false));
    expect(() => result.apply([change({ key: "2" })])).toThrow(
      expect.objectContaining({ code: "client_limit" }),
    );
  });
});

describe("keys that the server does not say", () => {
  const base = { keys: undefined, columns: ["id", "note"], ordered: false, lsn: "0/1", visible: undefined };
  const wire = (op: WireChange<Item>["op"], key: string, row: Item) =>
    ({ op, key, row, old: undefined, position: undefined }) satisfies WireChange<Item>;

  test("are made of the key's columns", () => {
    for (const key of [["id"], ["id", "note"]]) {
      const result = new Result<Item>(10);
      result.snapshot({ ...base, key, rows: [{ id: 1, note: "a" }] });
      result.apply([wire("insert", "2", { id: 2, note: "b" })]);
      result.apply([wire("update", "2", { id: 2, note: "b" }), wire("delete", "1", { id: 1, note: "a" })]);
      expect(result.list).toEqual([{ id: 2, note: "b" }]);
    }
  });

  test("are made of all there is, with the number of the equal row", () => {
    const result = new Result<Item>(10);
    const row = { id: 1, note: "a" };
    result.snapshot({ ...base, key: null, rows: [row, row] });
    result.apply([wire("insert", "f00#3", row), wire("delete", "f00#2", row)]);
    expect(result.list).toEqual([row, row]);
    expect(() => result.apply([wire("delete", "f00#2", row)])).toThrow(/not there/);
  });

  test("are no guess if numbers were rounded", () => {
    const result = new Result<Item>(10);
    const rows = JSON.parse('[{"id":9007199254740992},{"id":9007199254740993}]');
    expect(() => result.snapshot({ ...base, key: ["id"], rows })).toThrow(/rounded/);
    result.snapshot({ ...base, key: ["id"], rows: rows.slice(1) });
    expect(() => result.apply([{ ...wire("update", "1", rows[0]), old: "2" }])).toThrow(/another key/);
  });
});
