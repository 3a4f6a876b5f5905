import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as it came. */
export interface Received {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: string;
}

/** One request, and what is answered. */
export class Exchange {
  readonly request: Received;
  readonly response: ServerResponse;

  constructor(request: Received, response: ServerResponse) {
    this.request = request;
    this.response = response;
  }

  /** A whole answer. */
  answer(status: number, body = "", headers: Record<string, string> = {}): void {
    this.response.writeHead(status, headers).end(body);
  }

  json(status: number, body: unknown, headers: Record<string, string> = {}): void {
    this.answer(status, JSON.stringify(body), { "content-type": "application/json", ...headers });
  }

  problem(status: number, code: string, more: Record<string, unknown> = {}, headers = {}): void {
    const body = { code, status, title: `it is ${code}`, type: `urn:rolegate:error:${code}`, ...more };
    this.json(status, body, { "content-type": "application/problem+json", ...headers });
  }

  /** The head of a stream. */
  open(): this {
    this.response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    this.response.flushHeaders();
    return this;
  }

  /** One event of the stream. */
  send(name: string, data: unknown, id?: string): this {
    this.response.write(event(name, data, id));
    return this;
  }

  end(): void {
    this.response.end();
  }

  /** As if a cable was cut. */
  cut(): void {
    this.response.socket?.destroy();
  }

  /** Resolves when the client has gone. */
  async gone(): Promise<void> {
    if (!this.response.closed) await once(this.response, "close");
  }
}

export function event(name: string, data: unknown, id?: string): string {
  return `event: ${name}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
}

/** A snapshot event's data. */
export function snapshot(rows: { id: number; note?: string }[], more: Record<string, unknown> = {}) {
  return {
    type: "snapshot",
    rows,
    keys: rows.map((row) => String(row.id)),
    columns: rows[0] ? Object.keys(rows[0]) : ["id"],
    key: ["id"],
    ordered: false,
    lsn: "0/10",
    ...more,
  };
}

/** A commit event's data. */
export function commit(xid: number | bigint = 7, lsn = "0/20") {
  return {
    op: "up-to-date",
    lsn,
    txid: Number(BigInt.asUintN(32, BigInt(xid))),
    xid: String(xid),
    xids: [String(xid)],
  };
}

/** A server that does what the test says, exchange by exchange. */
export class Stage {
  readonly #server: Server;
  readonly #exchanges: Exchange[] = [];
  readonly #waiting: ((exchange: Exchange) => void)[] = [];
  /** Requests so far. */
  count = 0;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      const { method = "", url = "", headers } = request;
      const exchange = new Exchange({ method, url, headers, body }, response);
      this.count += 1;
      const waiting = this.#waiting.shift();
      if (waiting) waiting(exchange);
      else this.#exchanges.push(exchange);
    });
  }

  static async start(): Promise<Stage> {
    const stage = new Stage();
    stage.#server.listen(0, "127.0.0.1");
    await once(stage.#server, "listening");
    return stage;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next request. */
  next(): Promise<Exchange> {
    const exchange = this.#exchanges.shift();
    if (exchange) return Promise.resolve(exchange);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
