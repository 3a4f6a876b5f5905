import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  createClient,
  type LiveOptions,
  type LiveQuery,
  type LiveStatus,
  type LiveUpdate,
} from "../src/index.js";
import { commit, Stage, snapshot } from "./support/stage.js";

interface Item {
  id: number;
  note?: string;
}

let stage: Stage;
let open: LiveQuery<Item>[];
beforeEach(async () => {
  stage = await Stage.start();
  open = [];
});
afterEach(async () => {
  for (const live of open) live.close();
  await stage.stop();
});

/** What a live query told. */
class Told {
  readonly updates: LiveUpdate<Item>[] = [];
  readonly statuses: string[] = [];
  readonly errors: string[] = [];
  readonly #waiting: (() => void)[] = [];

  readonly options: LiveOptions<Item> = {
    backoff: { baseMs: 2, mostMs: 4 },
    onUpdate: (update) => {
      this.updates.push(update);
      this.#tell();
    },
    onStatus: (status: LiveStatus, error) => {
      this.statuses.push(error ? `${status} ${error.code}` : status);
      this.#tell();
    },
    onError: (error) => this.errors.push(error.code),
  };

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #tell(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function live(told: Told, more: LiveOptions<Item> = {}, token?: () => Promise<string>): LiveQuery<Item> {
  const client = createClient({ url: stage.url, ...(token && { token }) });
  const query = client.live<Item>("select id, note from t where x = $1", [5], { ...told.options, ...more });
  open.push(query);
  return query;
}

const insert = (id: number) => ({ op: "insert", key: String(id), row: { id } });
const gone = (id: number) => ({ op: "delete", key: String(id), row: { id } });

describe("a live query", () => {
  test("gives the snapshot, then the rows after each commit", async () => {
    const told = new Told();
    const query = live(told);
    const stream = await stage.next();
    expect(stream.request).toMatchObject({ method: "POST", url: "/query?live=true" });
    expect(JSON.parse(stream.request.body)).toEqual({
      sql: "select id, note from t where x = $1",
      params: [5],
    });
    expect(stream.request.headers.accept).toBe("text/event-stream");
    expect(stream.request.headers["last-event-id"]).toBeUndefined();
    stream.open().send("snapshot", snapshot([{ id: 1 }]), "a");
    await told.until(() => told.updates.length === 1);
    stream.send("change", insert(2)).send("change", gone(1));
    stream.send("commit", commit(), "b");
    await told.until(() => told.updates.length === 2);
    expect(told.updates).toEqual([
      { kind: "snapshot", rows: [{ id: 1 }], changes: [], lsn: "0/10" },
      {
        kind: "commit",
        rows: [{ id: 2 }],
        changes: [
          { op: "insert", key: "2", row: { id: 2 } },
          { op: "delete", key: "1", row: { id: 1 } },
        ],
        lsn: "0/20",
      },
    ]);
    expect(query.rows).toEqual([{ id: 2 }]);
    expect([query.status, query.lsn, query.ordered]).toEqual(["live", "0/20", false]);
    query.close();
    await stream.gone();
    expect(await query.closed).toBeUndefined();
    expect(told.statuses).toEqual(["live", "closed"]);
    expect(told.errors).toEqual([]);
  });

  test("says nothing for a commit that changed nothing, but takes its LSN and transactions", async () => {
    const told = new Told();
    const query = live(told);
    const seen = query.awaitTxid("77");
    (await stage.next()).open().send("snapshot", snapshot([]), "a").send("commit", commit(77, "0/30"), "b");
    await seen;
    expect(query.lsn).toBe("0/30");
    expect(told.updates).toHaveLength(1);
  });

  test("takes commits of which no transaction is known", async () => {
    const told = new Told();
    const query = live(told);
    const stream = (await stage.next()).open().send("snapshot", snapshot([]), "a");
    const unknown = { op: "up-to-date", lsn: "0/30", txid: null, xid: null, xids: [] };
    stream.send("change", { ...insert(1), txid: null }).send("commit", unknown, "b");
    await told.until(() => told.updates.length === 2);
    expect(query.rows).toEqual([{ id: 1 }]);
  });

  test("keeps the order", async () => {
    const told = new Told();
    const query = live(told);
    const stream = (await stage.next()).open();
    stream.send("snapshot", snapshot([{ id: 1 }, { id: 2 }, { id: 3 }], { ordered: true }), "a");
    stream.send("change", gone(2));
    stream.send("change", { op: "insert", key: "4", row: { id: 4 }, position: 0 });
    stream.send("change", { op: "update", key: "1", row: { id: 1 }, position: 2 });
    stream.send("commit", commit(), "b");
    await told.until(() => told.updates.length === 2);
    expect(query.rows.map(({ id }) => id)).toEqual([4, 3, 1]);
    expect(query.ordered).toBe(true);
  });

  test("is a loop over the newest rows, which ends with it", async () => {
    const query = live(new Told());
    const stream = (await stage.next()).open().send("snapshot", snapshot([{ id: 1 }]), "a");
    const seen: number[] = [];
    for await (const rows of query) {
      seen.push(rows.length);
      if (rows.length === 4) break;
      // Two commits while the loop is busy: the one in between is not seen.
      stream.send("change", insert(10 + seen.length)).send("commit", commit(), "b");
      if (seen.length === 1) {
        stream.send("change", insert(20)).send("change", insert(21)).send("commit", commit(8), "c");
        await query.awaitTxid(8);
      }
    }
    expect(seen).toEqual([1, 4]);
    expect(query.status).toBe("closed");
    await stream.gone();
  });

  test("the loop ends with the error", async () => {
    const query = live(new Told());
    (await stage.next()).problem(403, "permission_denied");
    const loop = async () => {
      for await (const rows of query) expect(rows).toBe("never");
    };
    await expect(loop()).rejects.toMatchObject({ code: "permission_denied" });
    expect(query.error).toMatchObject({ status: 403 });
    await expect(query.awaitTxid(1)).rejects.toMatchObject({ code: "permission_denied" });
  });

  test("ends with its signal, in whatever it is doing", async () => {
    const early = AbortSignal.abort();
    expect(await live(new Told(), { signal: early }).closed).toBeUndefined();
    expect(stage.count).toBe(0);

    const control = new AbortController();
    const asking = live(new Told(), { signal: control.signal });
    const waits = expect(asking.awaitTxid(1)).rejects.toMatchObject({ code: "client_closed" });
    const exchange = await stage.next();
    control.abort();
    expect(await asking.closed).toBeUndefined();
    await exchange.gone();
    await waits;

    const told = new Told();
    const later = new AbortController();
    const resting = live(told, { signal: later.signal, backoff: { baseMs: 60_000, mostMs: 60_000 } });
    (await stage.next()).cut();
    await told.until(() => told.statuses.includes("connecting client_unreachable"));
    later.abort();
    expect(await resting.closed).toBeUndefined();
  });
});

describe("after a broken connection", () => {
  test("it goes on after the last commit, and forgets changes without one", async () => {
    const told = new Told();
    const query = live(told);
    const first = (await stage.next()).open();
    first
      .send("snapshot", snapshot([{ id: 1 }]), "a")
      .send("change", insert(2))
      .send("commit", commit(), "b");
    first.send("change", insert(3));
    await told.until(() => told.updates.length === 2);
    first.cut();
    const second = await stage.next();
    expect(second.request.headers["last-event-id"]).toBe("b");
    expect(query.rows).toEqual([{ id: 1 }, { id: 2 }]);
    second.open().send("change", insert(3)).send("change", insert(4)).send("commit", commit(8), "c");
    await told.until(() => told.updates.length === 3);
    expect(query.rows).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }, { id: 4 }]);
    expect(told.statuses).toEqual(["live", "reconnecting client_unreachable", "live"]);
  });

  test("it keeps the rows until the snapshot after a reset", async () => {
    const told = new Told();
    const query = live(told);
    const first = (await stage.next()).open().send("snapshot", snapshot([{ id: 1 }]), "a");
    await told.until(() => told.updates.length === 1);
    first.end();
    const second = (await stage.next()).open().send("reset", { op: "reset", reason: "history" });
    await told.until(() => told.statuses.at(-1) === "reconnecting");
    expect(query.rows).toEqual([{ id: 1 }]);
    second.send("snapshot", snapshot([{ id: 9 }]), "x");
    await told.until(() => told.updates.length === 2);
    expect(told.updates[1]).toMatchObject({ kind: "snapshot", rows: [{ id: 9 }] });
    expect(query.status).toBe("live");
  });

  test("a reset whose snapshot did not come is not resumed", async () => {
    const told = new Told();
    live(told);
    const first = (await stage.next()).open().send("snapshot", snapshot([{ id: 1 }]), "a");
    first.send("reset", { op: "reset", reason: "slow" });
    await told.until(() => told.statuses.at(-1) === "reconnecting");
    first.end();
    expect((await stage.next()).request.headers["last-event-id"]).toBeUndefined();
  });

  test("it begins anew after a change that does not fit", async () => {
    const told = new Told();
    const query = live(told);
    const first = (await stage.next()).open().send("snapshot", snapshot([{ id: 1 }]), "a");
    first.send("change", gone(5)).send("commit", commit(), "b");
    const second = await stage.next();
    expect(second.request.headers["last-event-id"]).toBeUndefined();
    expect(query.rows).toEqual([{ id: 1 }]);
    expect(told.statuses.at(-1)).toBe("reconnecting client_protocol");
    second.open().send("change", insert(2)).send("commit", commit(), "c");
    // A change without a snapshot is no continuation.
    const third = (await stage.next()).open().send("snapshot", snapshot([{ id: 2 }]), "d");
    await told.until(() => told.updates.length === 2);
    expect(query.rows).toEqual([{ id: 2 }]);
    third.response.write("event: commit\ndata: not JSON\n\n");
    await stage.next();
  });

  test("it takes no commit for a continuation that did not ask for one", async () => {
    const told = new Told();
    const query = live(told);
    (await stage.next())
      .open()
      .send("snapshot", snapshot([{ id: 1 }]))
      .end();
    const second = await stage.next();
    expect(second.request.headers["last-event-id"]).toBeUndefined();
    second.open().send("change", insert(2)).send("commit", commit());
    await stage.next();
    expect(query.rows).toEqual([{ id: 1 }]);
  });

  test("it waits as long as the server says", async () => {
    const told = new Told();
    live(told);
    const began = Date.now();
    (await stage.next()).problem(503, "overloaded", {}, { "retry-after": "1" });
    await stage.next();
    expect(Date.now() - began).toBeGreaterThanOrEqual(990);
    expect(told.statuses).toEqual(["connecting overloaded"]);
  });
});

describe("errors", () => {
  const lasting: [number, string][] = [
    [400, "invalid_params"],
    [401, "query_private"],
    [403, "permission_denied"],
    [404, "database_unknown"],
    [413, "result_too_large"],
    [422, "query_refused"],
  ];
  test.each(lasting)("%d ends it, at first and in the middle", async (status, code) => {
    const told = new Told();
    const first = live(told);
    (await stage.next()).problem(status, code);
    expect(await first.closed).toMatchObject({ code, status });
    expect(told.errors).toEqual([code]);
    expect(told.statuses).toEqual([`closed ${code}`]);

    const later = new Told();
    const second = live(later);
    const stream = (await stage.next()).open().send("snapshot", snapshot([{ id: 1 }]), "a");
    stream.send("error", { code, message: "m", status });
    expect(await second.closed).toMatchObject({ code, status, message: "m" });
    expect(second.rows).toEqual([{ id: 1 }]);
    await stream.gone();
    expect(stage.count).toBe(2);
  });

  const passing: [number, string][] = [
    [429, "budget_exceeded"],
    [500, "internal"],
    [503, "shutting_down"],
    [504, "deadline_exceeded"],
  ];
  test.each(passing)("%d is tried again, at first and in the middle", async (status, code) => {
    const told = new Told();
    const query = live(told);
    (await stage.next()).problem(status, code);
    const stream = (await stage.next()).open().send("snapshot", snapshot([{ id: 1 }]), "a");
    await told.until(() => told.updates.length === 1);
    stream.send("error", { code, message: "m", status });
    expect((await stage.next()).request.headers["last-event-id"]).toBe("a");
    expect(query.rows).toEqual([{ id: 1 }]);
    expect(told.statuses).toEqual([`connecting ${code}`, "live", `reconnecting ${code}`]);
  });

  test("an answer that is no stream ends it, but not one that was live", async () => {
    const told = new Told();
    const first = live(told);
    (await stage.next()).json(200, []);
    expect(await first.closed).toMatchObject({ code: "client_protocol" });

    const later = new Told();
    live(later);
    (await stage.next()).open().send("snapshot", snapshot([]), "a").end();
    (await stage.next()).answer(200, "<html>", { "content-type": "text/html" });
    await stage.next();
    expect(later.errors).toEqual([]);
  });

  test("more rows, changes or characters than it holds end it", async () => {
    const rows = live(new Told(), { maxRows: 2 });
    (await stage.next()).open().send("snapshot", snapshot([{ id: 1 }, { id: 2 }, { id: 3 }]), "a");
    expect(await rows.closed).toMatchObject({ code: "client_limit" });
    const changes = live(new Told(), { maxRows: 2 });
    const stream = (await stage.next()).open().send("snapshot", snapshot([]), "a");
    for (let id = 0; id < 3; id++) stream.send("change", insert(id));
    expect(await changes.closed).toMatchObject({ code: "client_limit" });
    const chars = live(new Told(), { maxEventChars: 1000 });
    (await stage.next()).open().response.write(`data: ${"x".repeat(2000)}`);
    expect(await chars.closed).toMatchObject({ code: "client_limit" });
  });

  test("an event of a later server is left out", async () => {
    const told = new Told();
    const query = live(told);
    const stream = (await stage.next())
      .open()
      .send("snapshot", snapshot([]), "a")
      .send("weather", { sun: true });
    stream.send("change", insert(1)).send("commit", commit(), "b");
    await told.until(() => told.updates.length === 2);
    expect(query.rows).toEqual([{ id: 1 }]);
  });
});

describe("tokens", () => {
  const tokens = () => {
    const asked: boolean[] = [];
    const token = async (why?: { rejected: boolean }) => {
      asked.push(why?.rejected ?? false);
      return `t${asked.length}`;
    };
    return { asked, token };
  };

  test("are asked for at each connect", async () => {
    const { asked, token } = tokens();
    live(new Told(), {}, token);
    (await stage.next()).open().send("snapshot", snapshot([]), "a").end();
    expect((await stage.next()).request.headers.authorization).toBe("Bearer t2");
    expect(asked).toEqual([false, false]);
  });

  test("are renewed when the stream says that one has expired", async () => {
    const { asked, token } = tokens();
    const told = new Told();
    const query = live(told, {}, token);
    const first = (await stage.next()).open().send("snapshot", snapshot([{ id: 1 }]), "a");
    first.send("error", { code: "token_expired", message: "m", status: 401 });
    const second = await stage.next();
    expect(second.request.headers).toMatchObject({ authorization: "Bearer t2", "last-event-id": "a" });
    expect(asked).toEqual([false, true]);
    second.open();
    await told.until(() => query.status === "live" && told.statuses.length === 3);
    expect(told.errors).toEqual([]);
    // Refused as well: no third.
    second.send("error", { code: "token_expired", message: "m", status: 401 });
    (await stage.next()).problem(401, "token_revoked");
    expect(await query.closed).toMatchObject({ code: "token_revoked" });
    expect(stage.count).toBe(3);
  });

  test("are renewed once when the server refuses one at the door", async () => {
    const { asked, token } = tokens();
    const query = live(new Told(), {}, token);
    (await stage.next()).problem(401, "token_expired");
    (await stage.next()).problem(401, "token_expired");
    expect(await query.closed).toMatchObject({ code: "token_expired" });
    expect(asked).toEqual([false, true]);
  });

  test("that can't be had are tried again", async () => {
    let tries = 0;
    const told = new Told();
    live(told, {}, async () => {
      tries += 1;
      if (tries === 1) throw new Error("the issuer is away");
      return "t";
    });
    expect((await stage.next()).request.headers.authorization).toBe("Bearer t");
    expect(told.statuses).toEqual(["connecting client_unreachable"]);
  });
});
