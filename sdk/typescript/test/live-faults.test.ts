import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createClient } from "../src/index.js";
import { changes, type Item, type Keyed, subsequence } from "./support/contract.js";
import { event } from "./support/stage.js";

/** What becomes of a connection. */
const fate = fc.record({
  kind: fc.constantFrom("refuse", "drop", "serve", "serve", "serve"),
  /** Bytes until it breaks. */
  bytes: fc.nat({ max: 4000 }),
  /** The server has forgotten what was before. */
  forgets: fc.boolean(),
  /** A reset in the middle, before this version. */
  resets: fc.option(fc.nat({ max: 12 }), { nil: undefined }),
});
type Fate = typeof fate extends fc.Arbitrary<infer F> ? F : never;

const list = fc.uniqueArray(fc.record({ id: fc.nat({ max: 12 }), note: fc.constantFrom("a", "b") }), {
  selector: ({ id }) => id,
  maxLength: 8,
});

/** A server of a query whose result had these versions, one after the other. */
class Faulty {
  readonly #versions: Keyed[][];
  readonly #ordered: boolean;
  readonly #fates: Fate[];
  readonly #server: Server;

  constructor(versions: Item[][], ordered: boolean, fates: Fate[]) {
    this.#versions = versions.map((items) => items.map((row) => ({ key: `k${row.id}`, row })));
    this.#ordered = ordered;
    this.#fates = fates;
    this.#server = createServer((request, response) => {
      const last = request.headers["last-event-id"];
      this.#connection(response, typeof last === "string" ? Number(last) : undefined);
    });
  }

  async start(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #connection(response: ServerResponse, last: number | undefined): void {
    const calm: Fate = { kind: "serve", bytes: Number.MAX_SAFE_INTEGER, forgets: false, resets: undefined };
    const { kind, bytes, forgets, resets } = this.#fates.shift() ?? calm;
    if (kind === "drop") return void response.socket?.destroy();
    if (kind === "refuse") {
      response.writeHead(503, { "content-type": "application/problem+json" });
      return void response.end('{"code":"overloaded","status":503}');
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const text = Buffer.from(this.#stream(last, forgets, resets));
    response.write(text.subarray(0, bytes));
    if (bytes >= text.length) return;
    // What was written goes out first.
    setImmediate(() => response.socket?.destroy());
  }

  /** All there is to say to who has `last`. */
  #stream(last: number | undefined, forgets: boolean, resets: number | undefined): string {
    const frames: string[] = [];
    let at = forgets ? undefined : last;
    if (at === undefined) {
      if (last !== undefined) frames.push(event("reset", { op: "reset", reason: "history" }));
      at = 0;
      frames.push(this.#snapshot(at));
    }
    for (at += 1; at < this.#versions.length; at++) {
      if (at === resets) frames.push(event("reset", { op: "reset", reason: "slow" }), this.#snapshot(at));
      else frames.push(...this.#commit(at));
    }
    return frames.join(": heartbeat\r\n\r\n");
  }

  #snapshot(at: number): string {
    const rows = this.#versions[at] ?? [];
    const data = {
      type: "snapshot",
      rows: rows.map(({ row }) => row),
      keys: rows.map(({ key }) => key),
      columns: ["id", "note"],
      key: ["id"],
      ordered: this.#ordered,
      lsn: `0/${at}`,
      visible: `${at + 1}:${at + 1}:`,
    };
    return event("snapshot", data, String(at));
  }

  #commit(at: number): string[] {
    const [old = [], now = []] = [this.#versions[at - 1], this.#versions[at]];
    const kept = this.#ordered ? subsequence(old, now, () => true) : undefined;
    const data = { op: "up-to-date", lsn: `0/${at}`, txid: at, xid: String(at), xids: [String(at)] };
    return [
      ...changes(old, now, kept).map((change) => event("change", change)),
      event("commit", data, String(at)),
    ];
  }
}

test("whatever breaks, rows are always those of one version, and in the end of the last", async () => {
  const run = fc.asyncProperty(
    fc.array(list, { minLength: 1, maxLength: 12 }),
    fc.boolean(),
    fc.array(fate, { maxLength: 10 }),
    async (versions, ordered, fates) => {
      const server = new Faulty(versions, ordered, fates);
      const sorted = (items: readonly Item[]) => (ordered ? items : [...items].sort((a, b) => a.id - b.id));
      const wrong: unknown[] = [];
      const live = createClient({ url: await server.start() }).live<Item>("select id, note from t", [], {
        backoff: { baseMs: 1, mostMs: 2 },
        onUpdate: ({ rows, lsn }) => {
          const version = versions[Number(lsn.slice(2))] ?? [];
          if (JSON.stringify(sorted(rows)) !== JSON.stringify(sorted(version))) wrong.push({ rows, lsn });
        },
      });
      const last = versions.length - 1;
      try {
        await live.awaitTxid(last, { timeoutMs: 3000 });
        expect(wrong).toEqual([]);
        expect(sorted(live.rows)).toEqual(sorted(versions[last] ?? []));
      } finally {
        live.close();
        await live.closed;
        await server.stop();
      }
    },
  );
  await fc.assert(run, { numRuns: 60 });
}, 60_000);
