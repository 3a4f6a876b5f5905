import { fromResponse, protocol, type RolegateError } from "./error.js";
import { failure, type Outgoing, type Transport } from "./transport.js";

/** A row: columns by name. */
export type Row = Record<string, unknown>;

/** A value for `$1`, `$2`, ...: PostgreSQL makes of its text what the place needs. */
export type Param = string | number | bigint | boolean | Date | null | undefined | object;

/** In which form rows come. */
export type Format = "json" | "csv" | "ndjson";

/** Reads JSON. One that keeps every digit of large numbers goes here. */
export type Parse = (text: string) => unknown;

export interface QueryOptions {
  signal?: AbortSignal;
  /** The rows are at least as new as this: an `lsn` of a live query, or `Rolegate-Lsn` of an answer. */
  minLsn?: string;
  /** The rows show what this transaction wrote: its id with all digits, as `pg_current_xact_id()` gives it. */
  txid?: string | bigint;
  format?: Format;
  /** Another database than the client's. */
  database?: string;
  /** Sees the answer's status and headers. Its body is not to be read. */
  onResponse?: (response: Response) => void;
}

const MEDIA_TYPES: Record<Format, string> = {
  json: "application/json",
  csv: "text/csv",
  ndjson: "application/x-ndjson",
};

/** A version that was superseded between the redirect and the second request is asked for again. */
const TRIES = 3;

/** What is sent: the text and its parameters. */
export function asked(sql: string, params: readonly Param[], database: string | undefined): string {
  return encode({ sql, params: params.length > 0 ? params : undefined, database });
}

/** JSON, in which a bigint is a text: PostgreSQL reads both, and no digit is lost. */
export function encode(value: unknown): string {
  return JSON.stringify(value, (_, member) => (typeof member === "bigint" ? member.toString() : member));
}

/** Rows as an array, as CSV, or one after the other as they come. */
export async function query(
  transport: Transport,
  body: string,
  options: QueryOptions,
  parse: Parse,
): Promise<Row[] | string | AsyncIterable<Row>> {
  const { format = "json", signal } = options;
  const headers: Record<string, string> = { accept: MEDIA_TYPES[format] };
  if (options.minLsn !== undefined) headers["rolegate-min-lsn"] = options.minLsn;
  if (options.txid !== undefined) headers["rolegate-txid"] = String(options.txid);
  const response = await current(transport, { path: "query", body, headers, signal });
  options.onResponse?.(response);
  if (format === "ndjson") return lines(response, signal, parse);
  const text = await whole(response, signal);
  if (format === "csv") return text;
  const rows = parsed(text, parse);
  if (!Array.isArray(rows)) throw protocol("The answer to a query is not a list of rows.");
  return rows;
}

/** Why a query is public or private, and what it reads. */
export async function explain(transport: Transport, body: string, options: QueryOptions): Promise<unknown> {
  const { signal } = options;
  const response = await transport.send({ path: "query/explain", body, signal });
  options.onResponse?.(response);
  if (!response.ok) throw await fromResponse(response);
  return parsed(await whole(response, signal), JSON.parse);
}

/** `fetch` goes from the 303 to the version itself, and asks its cache with `If-None-Match`. */
async function current(transport: Transport, outgoing: Outgoing): Promise<Response> {
  let error: RolegateError | undefined;
  for (let tries = 0; tries < TRIES; tries++) {
    const response = await transport.send(outgoing);
    if (response.ok) return response;
    error = await fromResponse(response);
    if (response.status !== 410) break;
  }
  throw error;
}

/** The body's text. */
export async function whole(response: Response, signal: AbortSignal | undefined): Promise<string> {
  try {
    return await response.text();
  } catch (error) {
    throw failure(error, signal);
  }
}

export function parsed(text: string, parse: Parse): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw protocol("The answer is not JSON.", error);
  }
}

async function* lines(
  response: Response,
  signal: AbortSignal | undefined,
  parse: Parse,
): AsyncGenerator<Row> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const parts = (done ? decoder.decode() : decoder.decode(value, { stream: true })).split("\n");
      parts[0] = rest + parts[0];
      rest = parts.pop() ?? "";
      if (done) parts.push(rest);
      for (const line of parts) {
        if (line !== "") yield parsed(line, parse) as Row;
      }
      if (done) return;
    }
  } catch (error) {
    throw failure(error, signal);
  } finally {
    await reader.cancel().catch(() => {});
  }
}
