import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { claims } from "../../examples/collection.js";
import { add, follow, watch } from "../../examples/live.js";
import { type Claim, connect } from "../../examples/queries.js";
import { type Client, createClient, type LiveQuery } from "../../src/index.js";
import { Server, statements } from "../support/development.js";
import { Wire } from "../support/wire.js";

const TABLES = `
create table app.rank (name text primary key, points int);
create table app.die (id int primary key, eyes int);
create table app.notice (id int primary key);
create table app.score (id int primary key, owner text, score int);
grant select on app.rank, app.die, app.notice, app.score to employee;
insert into app.rank select 'p' || n, n from generate_series(1, 20) n;
insert into app.die values (1, 6), (2, 6), (3, 1);
`;

let server: Server;
let alice: Client;
let bob: Client;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  server = await Server.start();
  await server.sql.unsafe(await statements("typescript.md"));
  await server.sql.unsafe(TABLES);
  await server.command("postgres", "replication", "sync", "--expose", "api", "--expose", "app");
  alice = connect(server.record);
  bob = client("bob");
  // What was made just now is known within a second.
  const known = async () => JSON.stringify(await alice.call("capabilities")).includes("add_claim");
  await vi.waitUntil(known, { timeout: 5000 });
});
afterAll(() => server?.stop());
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function client(name: string, url = server.record.gateway_url): Client {
  return createClient({ url, database: server.record.database, token: async () => server.token(name) });
}

/** Numbers below `most` that follow from the seed. */
function numbers(seed: number): (most: number) => number {
  let state = seed >>> 0;
  return (most) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
}

function unlessDeadlock(error: { code?: string }): void {
  if (error.code !== "40P01") throw error;
}

const text = (row: object) => JSON.stringify(row);

function open<R extends object>(live: LiveQuery<R>): LiveQuery<R> {
  ends.push(() => live.close());
  return live;
}

describe("the examples", () => {
  test("a loop sees what somebody submits", async () => {
    const watched = watch(alice, "a new book");
    await alice.call("submit_claim", { amount: 9, purpose: "a new book" });
    expect(await watched).toMatchObject({ purpose: "a new book", amount: 9 });
  });

  test("callbacks, and waiting for a transaction", async () => {
    const shown: string[] = [];
    const live = open(follow(alice, (text) => shown.push(text)));
    const id = await add(alice, live);
    expect(live.rows.map((claim) => claim.id)).toContain(id);
    // The claim is in the first rows, or came by.
    expect(shown).toContain("live");
    expect(shown.filter((text) => text !== "live").at(-1)).toMatch(`${live.rows.length} claims, `);
  });

  test("a collection with an optimistic row", async () => {
    const made = claims(alice);
    ends.push(() => made.cleanup());
    await made.preload();
    const ids = made.toArray.map(({ id }) => id);
    expect(ids).toEqual([...ids].sort((a, b) => b - a));
    const transaction = made.insert({ id: -1, purpose: "optimistic", amount: 5 });
    expect(made.get(-1)?.purpose).toBe("optimistic");
    await transaction.isPersisted.promise;
    expect(made.has(-1)).toBe(false);
    expect(made.toArray[0]).toMatchObject({ purpose: "optimistic", amount: 5 });
  });
});

describe("a live query", () => {
  test("has the rows of its role and no others", async () => {
    const sql = "select id, claimant from app.expense_claim";
    const mine = open(alice.live<{ claimant: string }>(sql));
    const all = open(bob.live<{ claimant: string }>(sql));
    const { txid } = await bob.call<{ txid: string }>("add_claim", { amount: 4, purpose: "bob's" });
    await Promise.all([all.awaitTxid(txid), mine.awaitTxid(txid)]);
    expect(new Set(mine.rows.map(({ claimant }) => claimant))).toEqual(new Set(["alice"]));
    expect(all.rows.map(({ claimant }) => claimant)).toContain("bob");
  });

  test("follows updates, deletes, moves and truncation, in the query's order", async () => {
    const live = open(
      alice.live<{ name: string }>("select name, points from app.rank order by points desc, name"),
    );
    const same = async () => {
      const [{ xid } = { xid: "0" }] = await server.sql`
        with touched as (update app.rank set points = points where name = 'p3' returning 1)
        select pg_current_xact_id()::text as xid from touched`;
      await live.awaitTxid(xid);
      const now = await server.sql`select name, points from app.rank order by points desc, name`;
      expect(live.rows).toEqual([...now]);
    };
    await expect.poll(() => live.rows.length, { timeout: 5000 }).toBe(20);
    await server.sql`update app.rank set points = 100 where name = 'p5'`;
    await server.sql`update app.rank set points = points - 7 where points % 2 = 0`;
    await server.sql`delete from app.rank where points between 3 and 5 and name <> 'p3'`;
    await server.sql`update app.rank set name = 'renamed' where name = 'p5'`;
    await same();
    await server.sql`truncate app.rank`;
    await expect.poll(() => live.rows, { timeout: 5000 }).toEqual([]);
  });

  test("keeps rows apart that are equal", async () => {
    const live = open(alice.live<{ eyes: number }>("select eyes from app.die"));
    const eyes = () => live.rows.map((row) => row.eyes).sort();
    await expect.poll(eyes, { timeout: 5000 }).toEqual([1, 6, 6]);
    await server.sql`update app.die set eyes = 6 where id = 3`;
    await expect.poll(eyes, { timeout: 5000 }).toEqual([6, 6, 6]);
    await server.sql`delete from app.die where id in (1, 3)`;
    await expect.poll(eyes, { timeout: 5000 }).toEqual([6]);
  });

  test("goes on after its connection was cut, however often", async () => {
    const wire = await Wire.start(server.record.gateway_url);
    ends.push(() => wire.stop());
    const kinds: string[] = [];
    const live = open(
      client("alice", wire.url).live<Claim>(
        "select id, purpose, amount from app.expense_claim order by id",
        [],
        {
          backoff: { baseMs: 20, mostMs: 50 },
          onUpdate: ({ kind }) => kinds.push(kind),
        },
      ),
    );
    for (let n = 0; n < 5; n++) {
      await expect.poll(() => live.status, { timeout: 5000 }).toBe("live");
      wire.cut();
      const { txid } = await alice.call<{ txid: string }>("add_claim", { amount: 11, purpose: `cut ${n}` });
      await live.awaitTxid(txid);
    }
    expect(live.rows).toEqual(
      await alice.query("select id, purpose, amount from app.expense_claim order by id"),
    );
    expect(live.rows.filter(({ purpose }) => purpose.startsWith("cut "))).toHaveLength(5);
    expect(wire.count).toBeGreaterThan(5);
    // It was resumed: the server had what came in between.
    expect(kinds.filter((kind) => kind === "snapshot")).toHaveLength(1);
  });

  test("has what the query has, whatever is written while connections break", async () => {
    const wire = await Wire.start(server.record.gateway_url);
    ends.push(() => wire.stop());
    const queries = [
      "select id, owner, score from app.score order by score desc, id limit 10",
      "select id, owner, score from app.score where score > 50",
      "select owner from app.score",
      "select owner, count(*)::int as n, sum(score)::int as total from app.score group by owner",
      "select a.id, b.score from app.score a join app.score b on b.id = a.id + 1 order by a.id",
    ];
    const backoff = { baseMs: 5, mostMs: 20 };
    const lives = queries.map((sql) => open(client("alice", wire.url).live(sql, [], { backoff })));
    const seed = Number(process.env.SEED ?? Date.now());
    const random = numbers(seed);
    const write = (n: number) => {
      const [id, score] = [random(40), random(100)];
      const owner = `owner ${random(5)}`;
      switch (random(5)) {
        case 0:
          return server.sql`delete from app.score where id = ${id}`;
        case 1:
          return server.sql`update app.score set score = score + ${score - 50} where id between ${id} and ${id + 5}`;
        case 2:
          return n % 20 === 0
            ? server.sql`truncate app.score`
            : server.sql`update app.score set owner = ${owner} where id = ${id}`;
        default:
          return server.sql`insert into app.score values (${id}, ${owner}, ${score})
            on conflict (id) do update set score = excluded.score, owner = excluded.owner`;
      }
    };
    for (let n = 0; n < 100; n++) {
      // Two that update many rows may stand in each other's way.
      await Promise.all([write(n), write(n)].map((done) => done.catch(unlessDeadlock)));
      if (random(10) === 0) wire.cut();
    }
    const [last] = await server.sql<{ txid: string }[]>`
      insert into app.score values (1000, 'last', 99) returning pg_current_xact_id()::text as txid`;
    await Promise.all(lives.map((live) => live.awaitTxid(last?.txid ?? "")));
    for (const [at, sql] of queries.entries()) {
      const rows = await alice.query(sql);
      const bag = (all: readonly object[]) => (sql.includes("order by") ? all : all.map(text).sort());
      expect(bag(lives[at]?.rows ?? []), `SEED=${seed} ${sql}`).toEqual(bag(rows));
    }
    expect(wire.count).toBeGreaterThan(queries.length);
  });

  test("ends when the role loses its right", async () => {
    const live = open(alice.live("select id from app.notice"));
    await expect.poll(() => live.status, { timeout: 5000 }).toBe("live");
    await server.sql`revoke select on app.notice from employee`;
    const error = await live.closed;
    expect(error).toMatchObject({ status: 403 });
  });

  test("goes on with another token when its own is revoked, and ends without one", async () => {
    await server.sql`grant alice to operator`;
    const mint = () => server.command("operator", "token", "mint", "alice", "--days", "1");
    const first = await mint();
    const [id = ""] = /[0-9a-f-]{36}/.exec(await server.command("operator", "token", "list")) ?? [];
    const second = await mint();
    const { gateway_url: url, database } = server.record;
    const token = ({ rejected }: { rejected: boolean }) => (rejected ? second : first);
    const sql = "select id from app.expense_claim";
    const codes: string[] = [];
    const onStatus = (_: string, error?: { code: string }) => void codes.push(error?.code ?? "");
    const renewing = open(createClient({ url, database, token }).live(sql, [], { onStatus }));
    const fixed = open(createClient({ url, database, token: first }).live(sql));
    await vi.waitUntil(() => renewing.status === "live" && fixed.status === "live", { timeout: 5000 });
    await server.command("operator", "token", "revoke", id);
    expect(await fixed.closed).toMatchObject({ code: "token_revoked", status: 401 });
    await vi.waitUntil(() => codes.length >= 3, { timeout: 5000 });
    expect(codes).toEqual(["", "token_revoked", ""]);
    const { txid } = await alice.call<{ txid: string }>("add_claim", { amount: 6, purpose: "after" });
    await renewing.awaitTxid(txid);
  });

  test("is refused like the query", async () => {
    const anonymous = createClient({ url: server.record.gateway_url });
    expect(await anonymous.live("select id from app.expense_claim").closed).toMatchObject({
      code: "query_private",
    });
    expect(await alice.live("delete from app.expense_claim").closed).toMatchObject({ code: "query_refused" });
  });
});
