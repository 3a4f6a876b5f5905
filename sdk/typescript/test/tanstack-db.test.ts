import { createCollection } from "@tanstack/db";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Client, createClient, type LiveOptions, LiveQuery } from "../src/index.js";
import { collectionOptions, type RolegateCollectionConfig } from "../src/tanstack-db.js";
import { commit, type Exchange, Stage, snapshot } from "./support/stage.js";

interface Item {
  id: number;
  note?: string;
}

let stage: Stage;
let ends: (() => unknown)[];
beforeEach(async () => {
  stage = await Stage.start();
  ends = [];
});
afterEach(async () => {
  for (const end of ends) await end();
  await stage.stop();
});

function collection(more: Partial<RolegateCollectionConfig<Item, number>> = {}) {
  const made = createCollection(
    collectionOptions<Item, number>({
      client: createClient({ url: stage.url }),
      sql: "select id, note from item",
      getKey: (item) => item.id,
      backoff: { baseMs: 2, mostMs: 4 },
      ...more,
    }),
  );
  ends.push(() => made.cleanup());
  return made;
}

type Made = ReturnType<typeof collection>;

const rows = (made: Made) => made.toArray.map(({ id, note }) => (note === undefined ? { id } : { id, note }));

/** Resolves when it is so. */
function until(condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!condition()) return;
      clearInterval(timer);
      resolve();
    };
    // The stage is another process's stand-in: there is nothing to listen to for what did not happen yet.
    const timer = setInterval(look, 2);
    look();
  });
}

/** What subscribers are told from now on. */
function changesOf(made: Made): string[] {
  const events: string[] = [];
  const tell = (changes: { type: string; key: unknown }[]) => {
    events.push(...changes.map(({ type, key }) => `${type} ${key}`));
  };
  const subscription = made.subscribeChanges(tell, { includeInitialState: true });
  ends.unshift(() => subscription.unsubscribe());
  events.length = 0;
  return events;
}

const change = (op: string, id: number, note?: string, more = {}) => ({
  op,
  key: String(id),
  row: note === undefined ? { id } : { id, note },
  ...more,
});

async function ready(made: Made, items: Item[], more = {}): Promise<Exchange> {
  const loaded = made.preload();
  const stream = (await stage.next()).open().send("snapshot", snapshot(items, more), "a");
  await loaded;
  return stream;
}

describe("a collection", () => {
  test("is ready with the snapshot, and follows the query", async () => {
    const made = collection();
    const loaded = made.preload();
    const stream = (await stage.next()).open();
    expect(made.status).toBe("loading");
    stream.send("snapshot", snapshot([{ id: 2 }, { id: 1, note: "a" }]), "a");
    await loaded;
    expect(made.status).toBe("ready");
    expect(rows(made)).toEqual([{ id: 1, note: "a" }, { id: 2 }]);
    const events = changesOf(made);
    stream.send("change", change("delete", 2)).send("change", change("update", 1, "b"));
    stream.send("change", change("insert", 3)).send("commit", commit(), "b");
    await until(() => made.has(3));
    expect(rows(made)).toEqual([{ id: 1, note: "b" }, { id: 3 }]);
    expect(events.sort()).toEqual(["delete 2", "insert 3", "update 1"]);
    expect(made.utils.liveStatus()).toBe("live");
  });

  test("takes a delete and an insert of one key as an update", async () => {
    const made = collection();
    const stream = await ready(made, [{ id: 1, note: "a" }], { keys: ["h1"], key: null });
    const events = changesOf(made);
    stream.send("change", { op: "insert", key: "h2", row: { id: 1, note: "b" } });
    stream.send("change", { op: "delete", key: "h1", row: { id: 1, note: "a" } });
    stream.send("commit", commit(), "b");
    await until(() => made.get(1)?.note === "b");
    expect(events).toEqual(["update 1"]);
  });

  test("has the rows of a new snapshot after a reset, and no others", async () => {
    const made = collection();
    const stream = await ready(made, [{ id: 1 }, { id: 2 }]);
    stream
      .send("reset", { op: "reset", reason: "slow" })
      .send("snapshot", snapshot([{ id: 2, note: "x" }, { id: 3 }]), "b");
    await until(() => made.has(3));
    expect(rows(made)).toEqual([{ id: 2, note: "x" }, { id: 3 }]);
    expect(made.status).toBe("ready");
    stream.send("change", change("update", 3, "y")).send("commit", commit(), "c");
    await until(() => made.get(3)?.note === "y");
  });

  test("closes its stream when it is cleaned up, and opens another when it is used again", async () => {
    const made = collection();
    const stream = await ready(made, [{ id: 1 }]);
    await made.cleanup();
    await stream.gone();
    expect(made.utils.liveStatus()).toBe("closed");
    await ready(made, [{ id: 2 }]);
    expect(rows(made)).toEqual([{ id: 2 }]);
  });
});

describe("a query with an order", () => {
  test("keeps it", async () => {
    const made = collection();
    const stream = await ready(made, [{ id: 3 }, { id: 1 }, { id: 2 }], { ordered: true });
    expect(rows(made).map(({ id }) => id)).toEqual([3, 1, 2]);
    stream.send("change", change("insert", 9, undefined, { position: 0 }));
    stream.send("change", change("update", 3, undefined, { position: 3 }));
    stream.send("change", change("update", 1, "kept")).send("commit", commit(), "b");
    await until(() => made.has(9));
    expect(rows(made)).toEqual([{ id: 9 }, { id: 1, note: "kept" }, { id: 2 }, { id: 3 }]);
  });

  test("is that of `compare` if there is one", async () => {
    const made = collection({ compare: (a, b) => b.id - a.id });
    await ready(made, [{ id: 3 }, { id: 1 }, { id: 2 }], { ordered: true });
    expect(rows(made).map(({ id }) => id)).toEqual([3, 2, 1]);
  });

  /** A live query of which the test is the server. */
  function fed() {
    let feed: LiveOptions<Item>["onUpdate"];
    const live = (_sql: string, _params: unknown, options: LiveOptions<Item>) => {
      feed = options.onUpdate;
      return { ordered: true, status: "live", close: () => {}, awaitTxid: async () => {} };
    };
    const client = { live } as unknown as Pick<Client, "live">;
    const made = createCollection(
      collectionOptions<Item, number>({ client, sql: "", getKey: ({ id }) => id, startSync: true }),
    );
    ends.push(() => made.cleanup());
    const put = (kind: "snapshot" | "commit", list: Item[], changes: object[] = []) =>
      feed?.({ kind, rows: list, changes, lsn: "0/1" } as Parameters<NonNullable<typeof feed>>[0]);
    return { made, put };
  }

  test("keeps it whatever moves", () => {
    const step = fc.record({
      take: fc.nat(),
      put: fc.nat(),
      op: fc.constantFrom("move", "insert", "delete", "edit"),
    });
    const run = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { made, put } = fed();
      let list: Item[] = [{ id: 1 }, { id: 2 }, { id: 3 }];
      put("snapshot", list);
      let next = 4;
      for (const { op, take, put: at } of steps) {
        const previous = list[take % Math.max(list.length, 1)];
        const rest = list.filter((item) => item !== previous);
        if (op === "insert") {
          const row = { id: next++ };
          const position = at % (list.length + 1);
          list = list.toSpliced(position, 0, row);
          put("commit", list, [{ op, key: String(row.id), row, position }]);
        } else if (!previous) {
          continue;
        } else if (op === "delete") {
          list = rest;
          put("commit", list, [{ op, key: String(previous.id), row: previous }]);
        } else {
          const row = { ...previous, note: `${at}` };
          const position = op === "move" ? at % list.length : list.indexOf(previous);
          list = rest.toSpliced(position, 0, row);
          const moved = op === "move" ? { position } : {};
          put("commit", list, [{ op: "update", key: String(row.id), row, previous, ...moved }]);
        }
        expect(rows(made)).toEqual(list);
      }
    });
    fc.assert(run, { numRuns: 150 });
  });

  test("keeps it when more rows come in at one place than there are numbers", () => {
    const { made, put } = fed();
    let list: Item[] = [{ id: 1 }, { id: 2 }, { id: 3 }];
    put("snapshot", list);
    for (let id = 4; id < 104; id++) {
      const row = { id };
      list = list.toSpliced(2, 0, row);
      put("commit", list, [{ op: "insert", key: String(id), row, position: 2 }]);
      expect(rows(made)).toEqual(list);
    }
    expect(made.status).toBe("ready");
  });
});

describe("an error", () => {
  test("before the first snapshot is no empty collection", async () => {
    const made = collection();
    const loaded = expect(made.preload()).rejects.toMatchObject({ code: "permission_denied" });
    (await stage.next()).problem(403, "permission_denied");
    await loaded;
    expect(made.status).toBe("error");
  });

  test("that passes leaves it loading", async () => {
    const made = collection();
    const loaded = made.preload();
    (await stage.next()).problem(503, "overloaded");
    const stream = await stage.next();
    expect(made.status).toBe("loading");
    stream.open().send("snapshot", snapshot([{ id: 1 }]), "a");
    await loaded;
    expect(rows(made)).toEqual([{ id: 1 }]);
  });

  test("that ends the stream for good ends readiness", async () => {
    const made = collection();
    const stream = await ready(made, [{ id: 1 }]);
    stream.send("error", { code: "permission_denied", status: 403, message: "m" });
    await until(() => made.status === "error");
    expect(made.utils.liveStatus()).toBe("closed");
  });

  test("is a key that two rows share", async () => {
    const made = collection({ getKey: () => 1 });
    const loaded = expect(made.preload()).rejects.toMatchObject({ code: "client_duplicate_key" });
    const stream = (await stage.next()).open().send("snapshot", snapshot([{ id: 1 }, { id: 2 }]), "a");
    await loaded;
    expect(made.status).toBe("error");
    await stream.gone();
  });
});

describe("a write", () => {
  test("stays optimistic until its transaction is in the collection", async () => {
    let written = (_value: { txid: string }) => {};
    const answer = new Promise<{ txid: string }>((resolve) => {
      written = resolve;
    });
    const made = collection({ onInsert: () => answer });
    const stream = await ready(made, [{ id: 1 }]);
    const transaction = made.insert({ id: 2, note: "mine" });
    expect(rows(made)).toEqual([{ id: 1 }, { id: 2, note: "mine" }]);
    written({ txid: "77" });
    stream.send("change", change("insert", 3)).send("commit", commit(76), "b");
    stream.send("change", change("insert", 2, "theirs")).send("commit", commit(77), "c");
    await transaction.isPersisted.promise;
    await until(() => made.has(3));
    expect(rows(made)).toEqual([{ id: 1 }, { id: 2, note: "theirs" }, { id: 3 }]);
  });

  test("updates and deletes, with several transactions", async () => {
    const made = collection({
      onUpdate: async () => ({ txid: ["80", 81] }),
      onDelete: async () => ({ txid: 82n }),
    });
    const stream = await ready(made, [{ id: 1 }, { id: 2 }]);
    const updated = made.update(1, (draft) => {
      draft.note = "new";
    });
    stream.send("change", change("update", 1, "new")).send("commit", commit(80), "b");
    let early = false;
    updated.isPersisted.promise.then(() => {
      early = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(early).toBe(false);
    stream.send("commit", commit(81), "c");
    await updated.isPersisted.promise;
    const removed = made.delete(2);
    stream.send("change", change("delete", 2)).send("commit", commit(82), "d");
    await removed.isPersisted.promise;
    expect(rows(made)).toEqual([{ id: 1, note: "new" }]);
  });

  test("that is never seen is taken back, with an error", async () => {
    const made = collection({ onInsert: async () => ({ txid: "99", timeoutMs: 10 }) });
    await ready(made, []);
    const transaction = made.insert({ id: 2 });
    await expect(transaction.isPersisted.promise).rejects.toMatchObject({ code: "client_timeout" });
    expect(rows(made)).toEqual([]);
  });

  test("that is in the snapshot already is not waited for", async () => {
    const made = collection({ onInsert: async () => ({ txid: "12" }) });
    await ready(made, [{ id: 2 }], { visible: "10:20:11" });
    await made.insert({ id: 3 }).isPersisted.promise;
    await expect(made.utils.awaitTxId("11", 5)).rejects.toMatchObject({ code: "client_timeout" });
  });

  test("of a collection that follows nothing has nothing to wait for", async () => {
    await collection().utils.awaitTxId("5", 5);
  });
});

test("the client's own live query fits", () => {
  const client: Pick<Client, "live"> = createClient({ url: "http://127.0.0.1:1" });
  const live = client.live("select 1");
  expect(live).toBeInstanceOf(LiveQuery);
  live.close();
});
