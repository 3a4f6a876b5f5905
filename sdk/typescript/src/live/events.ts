import { isRecord, protocol } from "../error.js";
import type { Parse, Row } from "../query.js";
import type { SseEvent } from "./sse.js";

/** All rows. */
export interface Snapshot<R = Row> {
  rows: R[];
  /** One for each row. Missing from servers that don't say. */
  keys: string[] | undefined;
  columns: string[];
  /** The columns that make the key; null if rows are told apart by what is in them. */
  key: string[] | null;
  ordered: boolean;
  lsn: string;
  /** The snapshot that the rows were read in, as `pg_current_snapshot()` writes it. */
  visible: string | undefined;
}

/** One row that differs. */
export interface WireChange<R = Row> {
  op: "insert" | "update" | "delete";
  key: string;
  row: R;
  /** The key it had, if that was another. */
  old: string | undefined;
  position: number | undefined;
}

/** The end of the changes of one evaluation. */
export interface Commit {
  lsn: string;
  txid: number | undefined;
  xids: string[];
}

/** What a live query's stream says. */
export type LiveEvent<R = Row> =
  | { type: "snapshot"; snapshot: Snapshot<R> }
  | { type: "change"; change: WireChange<R> }
  | { type: "commit"; commit: Commit }
  | { type: "reset"; reason: string }
  | { type: "error"; problem: Record<string, unknown> }
  /** Of a later version of the server. */
  | { type: "unknown" };

/** Reads an event. What is missing or of another type is an error, because rows would be wrong. */
export function read<R>(event: SseEvent, parse: Parse): LiveEvent<R> {
  let data: unknown;
  try {
    data = parse(event.data);
  } catch (error) {
    throw protocol("An event of the stream is not JSON.", error);
  }
  if (!isRecord(data)) throw protocol("An event of the stream is not a JSON object.");
  switch (event.name) {
    case "snapshot":
      return { type: "snapshot", snapshot: snapshot(data) };
    case "change":
      return { type: "change", change: change(data) };
    case "commit":
      return { type: "commit", commit: commit(data) };
    case "reset":
      return { type: "reset", reason: typeof data.reason === "string" ? data.reason : "" };
    case "error":
      return { type: "error", problem: data };
    default:
      return { type: "unknown" };
  }
}

function snapshot<R>(data: Record<string, unknown>): Snapshot<R> {
  const { rows, keys, columns, key, ordered, lsn, visible } = data;
  const fits =
    Array.isArray(rows) &&
    rows.every(isRecord) &&
    (keys === undefined || (isTexts(keys) && keys.length === rows.length)) &&
    isTexts(columns) &&
    (key === null || isTexts(key)) &&
    typeof ordered === "boolean" &&
    typeof lsn === "string" &&
    (visible === undefined || typeof visible === "string");
  if (!fits) throw protocol("A snapshot of the stream is not complete.");
  return { rows: rows as R[], keys, columns, key, ordered, lsn, visible };
}

function change<R>(data: Record<string, unknown>): WireChange<R> {
  const { op, key, row, old, position } = data;
  const fits =
    (op === "insert" || op === "update" || op === "delete") &&
    typeof key === "string" &&
    isRecord(row) &&
    (old === undefined || typeof old === "string") &&
    (position === undefined || (Number.isSafeInteger(position) && (position as number) >= 0));
  if (!fits) throw protocol("A change of the stream is not complete.");
  return { op, key, row: row as R, old, position: position as number | undefined };
}

function commit(data: Record<string, unknown>): Commit {
  const { lsn, txid, xids } = data;
  const fits =
    typeof lsn === "string" &&
    (isMissing(txid) || typeof txid === "number") &&
    (xids === undefined || (isTexts(xids) && xids.every((xid) => /^\d+$/.test(xid))));
  if (!fits) throw protocol("A commit of the stream is not complete.");
  return { lsn, txid: txid ?? undefined, xids: xids ?? [] };
}

/** No transaction is known: a right or a definition changed. */
function isMissing(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((member) => typeof member === "string");
}
