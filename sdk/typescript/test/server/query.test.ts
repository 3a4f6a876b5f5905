import { afterAll, beforeAll, expect, test } from "vitest";
import { connect, lines, query, refused, submit } from "../../examples/queries.js";
import { type Client, createClient } from "../../src/index.js";
import { Server } from "../support/development.js";

let server: Server;
let alice: Client;
beforeAll(async () => {
  server = await Server.start();
  alice = connect(server.record);
});
afterAll(() => server?.stop());

test("queries give the rows that the role sees", async () => {
  const rows = await query(alice);
  expect(rows.length).toBeGreaterThan(0);
  for (const { id, purpose, amount } of rows) {
    expect([typeof id, typeof purpose, typeof amount]).toEqual(["number", "string", "number"]);
  }
  const mine = await alice.query<{ claimant: string }>("select distinct claimant from app.expense_claim");
  expect(mine).toEqual([{ claimant: "alice" }]);
  expect(await lines(alice)).toBeGreaterThan(0);
});

test("a public query is the same for everybody, with a cursor or without", async () => {
  await server.sql`create table api.rate (currency text primary key, per_euro numeric not null)`;
  await server.sql`insert into api.rate values ('USD', 1.10), ('CHF', 0.95)`;
  await server.sql`grant select on api.rate to public`;
  const anonymous = createClient({ url: server.record.gateway_url });
  const sql = "select currency, per_euro from rate where per_euro > $1 order by currency";
  // The grant counts within a second.
  await expect
    .poll(() => anonymous.query(sql, [0.5]).catch((error) => error.code), { timeout: 5000 })
    .toEqual([
      { currency: "CHF", per_euro: 0.95 },
      { currency: "USD", per_euro: 1.1 },
    ]);
  const explained = await anonymous.explain(sql, [0.5]);
  expect(explained).toMatchObject({ scope: "public", columns: ["currency", "per_euro"] });
  const csv = await anonymous.query(sql, [1], { format: "csv" });
  expect(csv.trim().split(/\r?\n/)).toEqual(["currency,per_euro", "USD,1.10"]);
  const seen: (string | null)[] = [];
  const onResponse = (response: Response) => seen.push(response.headers.get("rolegate-scope"));
  await anonymous.query(sql, [1], { onResponse });
  expect(seen).toEqual(["public"]);
});

test("a query sees the transaction that it names", async () => {
  await server.sql`create table api.counter (id int primary key, n int not null)`;
  await server.sql`insert into api.counter values (1, 0)`;
  await server.sql`grant select on api.counter to public`;
  await server.command("postgres", "replication", "sync", "--expose", "api", "--expose", "app");
  const anonymous = createClient({ url: server.record.gateway_url });
  const sql = "select n from counter where id = 1";
  const kept = () =>
    anonymous.explain(sql).then(
      ({ can_be_kept }) => can_be_kept,
      () => false,
    );
  await expect.poll(kept, { timeout: 5000 }).toBe(true);
  const addresses = new Set<string>();
  for (let n = 1; n <= 20; n++) {
    const [written] = await server.sql<{ txid: string }[]>`
      update api.counter set n = ${n} returning pg_current_xact_id()::text as txid`;
    const options = { txid: written?.txid ?? "", onResponse: ({ url }: Response) => void addresses.add(url) };
    expect(await anonymous.query(sql, [], options)).toEqual([{ n }]);
  }
  expect(addresses.size).toBe(20);
  for (const address of addresses) expect(address).toContain("/q/");
});

test("errors are those of the server", async () => {
  const anonymous = createClient({ url: server.record.gateway_url, database: server.record.database });
  const secret = "select claimant from app.expense_claim";
  await expect(anonymous.query(secret)).rejects.toMatchObject({ code: "query_private", status: 401 });
  await expect(alice.query("delete from app.expense_claim")).rejects.toMatchObject({
    code: "query_refused",
    status: 422,
  });
  await expect(alice.query("select nothing from app.expense_claim")).rejects.toMatchObject({
    sqlstate: "42703",
  });
  await expect(alice.query("select 1 / (id - id) as n from app.expense_claim")).rejects.toMatchObject({
    sqlstate: "22012",
    requestId: expect.any(String),
  });
  const stranger = createClient({
    url: server.record.gateway_url,
    database: "app",
    token: async () => "e30.e30.e30",
  });
  await expect(stranger.call("my_claims")).rejects.toMatchObject({ status: 401 });
  await expect(alice.call("decide_claim", { id: 1, approve: true })).rejects.toMatchObject({
    code: "function_not_found",
    status: 404,
  });
});

test("calls are done once for each key", async () => {
  const [first, second] = [await submit(alice, "key-1"), await submit(alice, "key-1")];
  expect(second).toEqual(first);
  expect((await submit(alice, "key-2")).id).not.toBe(first.id);
  expect(await refused(alice)).toMatch(/^no: /);
});

test("digits are kept where they can be", async () => {
  const large = 9007199254740993n;
  expect(await alice.query("select $1::int8::text as n", [large])).toEqual([{ n: large.toString() }]);
  const exact = createClient({
    url: server.record.gateway_url,
    token: server.token("alice"),
    parse: (text) => JSON.parse(text.replace(/\d{16,}/g, '"$&"')),
  });
  expect(await exact.query("select $1::int8 as n", [large])).toEqual([{ n: large.toString() }]);
});
