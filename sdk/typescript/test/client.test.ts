import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createClient, RolegateError } from "../src/index.js";
import { Stage } from "./support/stage.js";

let stage: Stage;
beforeEach(async () => {
  stage = await Stage.start();
});
afterEach(() => stage.stop());

const client = (more = {}) => createClient({ url: `${stage.url}/`, database: "app", ...more });

describe("a query", () => {
  test("sends text and parameters, and gives rows", async () => {
    const rows = client({ token: "t" }).query("select $1::int8 as n", [7n, undefined, new Date(0)], {
      minLsn: "0/1A",
      txid: 12n,
    });
    const { request, ...exchange } = await stage.next().then((got) => Object.assign(got, {}));
    expect(exchange).toBeDefined();
    expect(request.method).toBe("POST");
    expect(request.url).toBe("/query");
    expect(JSON.parse(request.body)).toEqual({
      sql: "select $1::int8 as n",
      params: ["7", null, "1970-01-01T00:00:00.000Z"],
      database: "app",
    });
    expect(request.headers).toMatchObject({
      authorization: "Bearer t",
      accept: "application/json",
      "content-type": "application/json",
      "rolegate-min-lsn": "0/1A",
      "rolegate-txid": "12",
    });
    exchange.response.writeHead(200, { "content-type": "application/json" }).end('[{"n":7}]');
    expect(await rows).toEqual([{ n: 7 }]);
  });

  test("goes from the cursor to the version", async () => {
    const seen: string[] = [];
    const rows = client({ token: "t" }).query("select 1 as n", [], {
      onResponse: (response: Response) => seen.push(response.headers.get("etag") ?? ""),
    });
    (await stage.next()).answer(303, "", { location: "/q/abc/1" });
    const version = await stage.next();
    expect([version.request.method, version.request.url]).toEqual(["GET", "/q/abc/1"]);
    version.json(200, [{ n: 1 }], { etag: '"abc:1"' });
    expect(await rows).toEqual([{ n: 1 }]);
    expect(seen).toEqual(['"abc:1"']);
  });

  test("asks again for a version that was superseded, and not for ever", async () => {
    const rows = client().query("select 1 as n");
    for (const version of [1, 2]) {
      (await stage.next()).answer(303, "", { location: `/q/abc/${version}` });
      if (version === 1) (await stage.next()).problem(410, "cursor_gone");
      else (await stage.next()).json(200, []);
    }
    expect(await rows).toEqual([]);
    const never = expect(client().query("select 1")).rejects.toMatchObject({ status: 410 });
    for (let n = 0; n < 3; n++) (await stage.next()).problem(410, "cursor_gone");
    await never;
    expect(stage.count).toBe(7);
  });

  test("gives CSV as it is, and lines one after the other", async () => {
    const csv = client().query("select 1 as n", [], { format: "csv" });
    const first = await stage.next();
    expect(first.request.headers.accept).toBe("text/csv");
    first.answer(200, "n\n1\n", { "content-type": "text/csv" });
    expect(await csv).toBe("n\n1\n");

    const asked = client().query<{ n: string }>("select n from t", [], { format: "ndjson" });
    const second = await stage.next();
    second.response.writeHead(200, { "content-type": "application/x-ndjson" });
    second.response.write('{"n":"é');
    const rows = await asked;
    setImmediate(() => second.response.end('"}\n{"n":"b"}\n{"n":"c"}'));
    const got: string[] = [];
    for await (const row of rows) got.push(row.n);
    expect(got).toEqual(["é", "b", "c"]);
  });

  test("an answer that breaks off is no answer", async () => {
    const asked = client().query("select n from t", [], { format: "ndjson" });
    const exchange = await stage.next();
    exchange.response.writeHead(200, { "content-type": "application/x-ndjson" });
    exchange.response.write('{"n":1}\n');
    const rows = await asked;
    const got: unknown[] = [];
    const read = async () => {
      for await (const row of rows) {
        got.push(row);
        exchange.cut();
      }
    };
    await expect(read()).rejects.toMatchObject({ code: "client_unreachable" });
    expect(got).toEqual([{ n: 1 }]);
  });

  test("reads JSON as it is told", async () => {
    const exact = client({ parse: (text: string) => JSON.parse(text.replace(/\b\d{16,}\b/g, '"$&"')) });
    const rows = exact.query("select n from t");
    (await stage.next()).answer(200, '[{"n":9007199254740993}]');
    expect(await rows).toEqual([{ n: "9007199254740993" }]);
  });

  test("what is no JSON is not taken for rows", async () => {
    for (const body of ["<html>", '{"a":1}']) {
      const rows = expect(client().query("select 1")).rejects.toMatchObject({ code: "client_protocol" });
      (await stage.next()).answer(200, body);
      await rows;
    }
  });

  test("is explained", async () => {
    const explanation = client().explain("select amount from t where id = $1", [3]);
    const exchange = await stage.next();
    expect(exchange.request.url).toBe("/query/explain");
    exchange.json(200, { scope: "public", columns: ["amount"], reads: ["public.t"], runs_as: "anonymous" });
    expect(await explanation).toMatchObject({ scope: "public", reads: ["public.t"] });
  });
});

describe("a call", () => {
  test("is JSON-RPC with a key", async () => {
    const result = client().call("submit_claim", { amount: 12n }, { idempotencyKey: "k", dryRun: true });
    const { request, response } = await stage.next();
    expect(request.url).toBe("/api/app");
    expect(request.headers).toMatchObject({ "idempotency-key": "k", prefer: "tx=rollback" });
    expect(request.headers.authorization).toBeUndefined();
    expect(JSON.parse(request.body)).toEqual({
      jsonrpc: "2.0",
      id: 1,
      method: "submit_claim",
      params: { amount: "12" },
    });
    response.end('{"jsonrpc":"2.0","result":{"id":1},"id":1}');
    expect(await result).toEqual({ id: 1 });
  });

  test("gives the result whatever status the function chose", async () => {
    for (const [status, result] of [
      [201, null],
      [404, { found: false }],
    ] as const) {
      const called = client().call("receipt");
      (await stage.next()).json(status, { jsonrpc: "2.0", id: 1, result });
      expect(await called).toEqual(result);
    }
  });

  test("fails with what the server says", async () => {
    const called = client().call("decide", [1]);
    (await stage.next()).json(400, {
      jsonrpc: "2.0",
      id: 1,
      error: {
        code: -32000,
        message: "there is no such claim",
        data: {
          code: "database_error",
          sqlstate: "P0001",
          hint: "open_claims()",
          detail: "d",
          request_id: "r",
        },
      },
    });
    const error = await called.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RolegateError);
    expect(error).toMatchObject({
      name: "RolegateError",
      message: "there is no such claim",
      code: "database_error",
      status: 400,
      sqlstate: "P0001",
      hint: "open_claims()",
      detail: "d",
      requestId: "r",
    });
  });

  test("needs a database", async () => {
    await expect(createClient({ url: stage.url }).call("f")).rejects.toThrow(/database/);
    const called = createClient({ url: stage.url }).call("f", undefined, { database: "other one" });
    const exchange = await stage.next();
    expect(exchange.request.url).toBe("/api/other%20one");
    exchange.json(200, { jsonrpc: "2.0", id: 1, result: 1 });
    expect(await called).toBe(1);
  });
});

describe("errors", () => {
  test("are those of the problem", async () => {
    const rows = client().query("select secret from t");
    const more = { hint: "h", sqlstate: "42501", request_id: "r", missing: ["x"] };
    (await stage.next()).problem(429, "budget_exceeded", more, { "retry-after": "3" });
    const error = (await rows.catch((caught: unknown) => caught)) as RolegateError;
    expect(error).toMatchObject({
      code: "budget_exceeded",
      status: 429,
      message: "it is budget_exceeded",
      hint: "h",
      sqlstate: "42501",
      requestId: "r",
      retryAfterMs: 3000,
    });
    expect(error.members.missing).toEqual(["x"]);
  });

  test("of something before the server have its status", async () => {
    const rows = expect(client().query("select 1")).rejects.toMatchObject({
      code: "http_502",
      status: 502,
      requestId: "p",
    });
    (await stage.next()).answer(502, "<html>Bad Gateway</html>", { "x-request-id": "p" });
    await rows;
    const called = expect(client().call("f")).rejects.toMatchObject({ code: "http_502" });
    (await stage.next()).answer(502, "<html>Bad Gateway</html>", { "content-type": "text/html" });
    await called;
  });

  test("say when nobody answers", async () => {
    const gone = createClient({ url: "http://127.0.0.1:1" });
    await expect(gone.query("select 1")).rejects.toMatchObject({ code: "client_unreachable", status: 0 });
    const cut = expect(client().query("select 1")).rejects.toMatchObject({ code: "client_unreachable" });
    (await stage.next()).cut();
    await cut;
  });

  test("an abort stays what the caller made of it", async () => {
    const control = new AbortController();
    const rows = expect(client().query("select 1", [], { signal: control.signal })).rejects.toBe("enough");
    await stage.next();
    control.abort("enough");
    await rows;
    await expect(client().query("select 1", [], { signal: control.signal })).rejects.toBe("enough");
    const slow = client({ token: () => new Promise<string>(() => {}) });
    const timeout = AbortSignal.timeout(5);
    await expect(slow.query("select 1", [], { signal: timeout })).rejects.toMatchObject({
      name: "TimeoutError",
    });
    expect(stage.count).toBe(1);
  });
});

describe("a token", () => {
  test("that was refused is asked for once more", async () => {
    const asked: boolean[] = [];
    const token = async ({ rejected }: { rejected: boolean }) => {
      asked.push(rejected);
      return `t${asked.length}`;
    };
    const rows = client({ token }).query("select 1");
    const first = await stage.next();
    expect(first.request.headers.authorization).toBe("Bearer t1");
    first.problem(401, "token_expired");
    const second = await stage.next();
    expect(second.request.headers.authorization).toBe("Bearer t2");
    expect(second.request.body).toBe(first.request.body);
    second.json(200, []);
    expect(await rows).toEqual([]);
    expect(asked).toEqual([false, true]);
  });

  test("that is refused again is an error", async () => {
    const rows = expect(client({ token: async () => "t" }).query("select 1")).rejects.toMatchObject({
      code: "token_expired",
    });
    (await stage.next()).problem(401, "token_expired");
    (await stage.next()).problem(401, "token_expired");
    await rows;
    expect(stage.count).toBe(2);
  });

  test("that can't change is not sent twice", async () => {
    const rows = expect(client({ token: "t" }).query("select 1")).rejects.toMatchObject({ status: 401 });
    (await stage.next()).problem(401, "token_expired");
    await rows;
    expect(stage.count).toBe(1);
  });
});
