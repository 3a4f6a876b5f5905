import { fromBody, fromMembers, isRecord, protocol } from "./error.js";
import { encode, type Parse, parsed, whole } from "./query.js";
import type { Transport } from "./transport.js";

export interface CallOptions {
  signal?: AbortSignal;
  /** A repeat with the same key gets the first call's result: safe to send again after a broken connection. */
  idempotencyKey?: string;
  /** Run the call and roll it back, where the server allows it. */
  dryRun?: boolean;
  /** Another database than the client's. */
  database?: string;
  /** Sees the answer's status and headers. Its body is not to be read. */
  onResponse?: (response: Response) => void;
}

/** Arguments by name, or in their order. */
export type Arguments = Readonly<Record<string, unknown>> | readonly unknown[];

/** Calls a SQL function, as the token's role. */
export async function call(
  transport: Transport,
  database: string,
  method: string,
  params: Arguments | undefined,
  options: CallOptions,
  parse: Parse,
): Promise<unknown> {
  const { signal } = options;
  const headers: Record<string, string> = { accept: "application/json" };
  if (options.idempotencyKey !== undefined) headers["idempotency-key"] = options.idempotencyKey;
  if (options.dryRun) headers.prefer = "tx=rollback";
  const response = await transport.send({
    path: `api/${encodeURIComponent(database)}`,
    body: encode({ jsonrpc: "2.0", id: 1, method, params }),
    headers,
    signal,
  });
  options.onResponse?.(response);
  const text = await whole(response, signal);
  if (!response.ok && !/json/.test(response.headers.get("content-type") ?? "")) {
    throw fromMembers({}, response.status, response);
  }
  const envelope = parsed(text, parse);
  // A function may choose any status for its result.
  if (isRecord(envelope) && "result" in envelope) return envelope.result;
  if (!response.ok || (isRecord(envelope) && isRecord(envelope.error))) throw fromBody(response, envelope);
  throw protocol("The answer to a call is not a JSON-RPC response.");
}
