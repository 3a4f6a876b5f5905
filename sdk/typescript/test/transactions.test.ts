import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Transactions } from "../src/live/transactions.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const commit = (...xids: string[]) => ({ lsn: "0/1", txid: undefined, xids });
const LARGE = (5n << 32n) + 7n;

describe("waiting for a transaction", () => {
  test("ends when a commit names it", async () => {
    const transactions = new Transactions();
    const wait = transactions.wait("12", 1000, undefined);
    transactions.commit(commit("11"));
    expect(transactions.has(12n)).toBe(false);
    transactions.commit(commit("10", "12"));
    await wait;
  });

  test("takes an id with epoch, and its lower 32 bits", async () => {
    const transactions = new Transactions();
    transactions.commit(commit(String(LARGE)));
    await transactions.wait(LARGE, 1, undefined);
    await transactions.wait(LARGE.toString(), 1, undefined);
    await transactions.wait(7, 1, undefined);
    const other = transactions.wait((6n << 32n) + 7n, 10, undefined);
    const late = expect(other).rejects.toMatchObject({ code: "client_timeout" });
    await vi.advanceTimersByTimeAsync(10);
    await late;
  });

  test("knows commits of servers that say only the lower bits", async () => {
    const transactions = new Transactions();
    transactions.commit({ lsn: "0/1", txid: 9, xids: [] });
    await transactions.wait(9, 1, undefined);
  });

  test("ends with a snapshot that has it", async () => {
    const transactions = new Transactions();
    const running = transactions.wait(15, 1000, undefined);
    const seen = transactions.wait(14, 1000, undefined);
    let early = false;
    running.then(() => {
      early = true;
    });
    transactions.snapshot({ visible: "10:20:15,17" });
    await seen;
    expect(early).toBe(false);
    expect([9n, 10n, 15n, 16n, 17n, 20n].map((xid) => transactions.has(xid))).toEqual([
      true,
      true,
      false,
      true,
      false,
      false,
    ]);
    transactions.commit(commit("15"));
    await running;
  });

  test("places lower bits beside those of the snapshot", () => {
    const transactions = new Transactions();
    const next = (3n << 32n) + 5n;
    transactions.snapshot({ visible: `${next - 10n}:${next}:` });
    expect(transactions.has(4n)).toBe(true);
    expect(transactions.has(6n)).toBe(false);
    // Before the turn.
    expect(transactions.has(0xffff_fff0n)).toBe(true);
    expect(transactions.has((2n << 32n) + 6n)).toBe(true);
    expect(transactions.has((3n << 32n) + 6n)).toBe(false);
  });

  test("ends with a snapshot asked for later, if that does not say what it has", async () => {
    const transactions = new Transactions();
    transactions.begin();
    const wait = transactions.wait(5, 1000, undefined);
    let seen = false;
    wait.then(() => {
      seen = true;
    });
    transactions.snapshot({ visible: undefined });
    await vi.advanceTimersByTimeAsync(1);
    expect(seen).toBe(false);
    transactions.begin();
    transactions.snapshot({ visible: undefined });
    await wait;
  });

  test("ends with the time, the signal, and the live query", async () => {
    const transactions = new Transactions();
    const control = new AbortController();
    const ends = [
      expect(transactions.wait(1, 50, undefined)).rejects.toMatchObject({ code: "client_timeout" }),
      expect(transactions.wait(2, 5000, control.signal)).rejects.toBe("enough"),
      expect(transactions.wait(3, 5000, undefined)).rejects.toBe("closed"),
    ];
    await vi.advanceTimersByTimeAsync(50);
    control.abort("enough");
    transactions.close("closed");
    await Promise.all(ends);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("refuses what is no id", () => {
    const transactions = new Transactions();
    for (const wrong of ["", "12a", "-1", -1, 1.5, Number.NaN, -1n]) {
      expect(() => transactions.wait(wrong, 1, undefined)).toThrow(/not the id/);
    }
  });

  test("remembers a bounded number", () => {
    const transactions = new Transactions();
    for (let xid = 1; xid <= 5000; xid++) transactions.commit(commit(String(xid)));
    expect(transactions.has(1n)).toBe(false);
    expect(transactions.has(5000n)).toBe(true);
  });
});
