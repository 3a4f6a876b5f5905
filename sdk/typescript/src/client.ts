import { type Arguments, type CallOptions, call } from "./call.js";
import { type LiveOptions, LiveQuery } from "./live.js";
import { asked, explain, type Param, type Parse, type QueryOptions, query, type Row } from "./query.js";
import { type Fetch, type Token, Transport } from "./transport.js";

export interface ClientOptions {
  /** The gateway, such as `https://api.example.com`. */
  url: string;
  /** Its name in the gateway's configuration. Calls need it; queries only where there is more than one. */
  database?: string;
  /** Who is calling. Without it, whoever is anonymous. */
  token?: Token;
  /** Instead of the global `fetch`. */
  fetch?: Fetch;
  /**
   * Reads JSON instead of `JSON.parse`, which rounds numbers beyond 2^53 and of more than 15 digits. The
   * server sends every digit.
   */
  parse?: Parse;
}

/** What the answer to `explain` says for sure; there is more. */
export interface Explanation {
  scope: "public" | "private";
  columns: string[];
  reads: string[];
  [member: string]: unknown;
}

/** One gateway, as one caller. */
export interface Client {
  /** The rows of one SQL query. */
  query<R extends object = Row>(
    sql: string,
    params?: readonly Param[],
    options?: QueryOptions & { format?: "json" },
  ): Promise<R[]>;
  query(sql: string, params: readonly Param[], options: QueryOptions & { format: "csv" }): Promise<string>;
  query<R extends object = Row>(
    sql: string,
    params: readonly Param[],
    options: QueryOptions & { format: "ndjson" },
  ): Promise<AsyncIterable<R>>;
  /** Why a query is public or private, and what it reads. */
  explain(
    sql: string,
    params?: readonly Param[],
    options?: Omit<QueryOptions, "format" | "minLsn" | "txid">,
  ): Promise<Explanation>;
  /** A query whose rows follow the database, from now until it is closed. */
  live<R extends object = Row>(
    sql: string,
    params?: readonly Param[],
    options?: LiveOptions<R>,
  ): LiveQuery<R>;
  /** Calls a SQL function with arguments by name or in their order. */
  call<T = unknown>(method: string, params?: Arguments, options?: CallOptions): Promise<T>;
}

/** A client of the gateway at `options.url`. */
export function createClient(options: ClientOptions): Client {
  const transport = new Transport(options.url, options.token, options.fetch);
  const parse = options.parse ?? JSON.parse;
  const body = (sql: string, params: readonly Param[], database = options.database) =>
    asked(sql, params, database);
  const client = {
    query: (sql: string, params: readonly Param[] = [], settings: QueryOptions = {}) =>
      query(transport, body(sql, params, settings.database), settings, parse),
    explain: (sql: string, params: readonly Param[] = [], settings: QueryOptions = {}) =>
      explain(transport, body(sql, params, settings.database), settings),
    live: <R extends object>(sql: string, params: readonly Param[] = [], settings: LiveOptions<R> = {}) =>
      new LiveQuery<R>(transport, body(sql, params, settings.database), settings, parse),
    call: async (method: string, params?: Arguments, settings: CallOptions = {}) => {
      const database = settings.database ?? options.database;
      if (database === undefined) throw new TypeError("Calls need a database: name it in createClient.");
      return call(transport, database, method, params, settings, parse);
    },
  };
  return client as Client;
}
