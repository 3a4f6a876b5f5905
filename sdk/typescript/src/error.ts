/** What an error of the server says, as far as it is known. */
export interface ErrorParts {
  code: string;
  status?: number;
  hint?: string | undefined;
  detail?: string | undefined;
  sqlstate?: string | undefined;
  requestId?: string | undefined;
  retryAfterMs?: number | undefined;
  members?: Readonly<Record<string, unknown>>;
  cause?: unknown;
}

/**
 * An answer that is an error, or what went wrong on the way to one. `code` is one of the server's
 * error codes; codes that begin with `client_` are found by this client.
 *
 * | code | means |
 * |---|---|
 * | `client_unreachable` | no answer came, or it broke off; `cause` says more |
 * | `client_silent` | not even a heartbeat came |
 * | `client_protocol` | what came is not what a Rolegate server sends |
 * | `client_limit` | it is more than this client was told to hold |
 * | `client_duplicate_key` | two rows can't be told apart |
 * | `client_timeout` | waiting for a transaction took too long |
 * | `client_closed` | the live query was closed |
 */
export class RolegateError extends Error {
  override readonly name = "RolegateError";
  readonly code: string;
  /** HTTP status, 0 if there was no answer. */
  readonly status: number;
  /** What to do about it. */
  readonly hint: string | undefined;
  /** Detail that the function's author wrote. */
  readonly detail: string | undefined;
  /** If the database said no. */
  readonly sqlstate: string | undefined;
  /** Finds the request in the server's log. */
  readonly requestId: string | undefined;
  /** When the server wants to be asked again. */
  readonly retryAfterMs: number | undefined;
  /** All members of the server's error: which argument, which candidates. */
  readonly members: Readonly<Record<string, unknown>>;

  constructor(message: string, parts: ErrorParts) {
    super(message, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.code = parts.code;
    this.status = parts.status ?? 0;
    this.hint = parts.hint;
    this.detail = parts.detail;
    this.sqlstate = parts.sqlstate;
    this.requestId = parts.requestId;
    this.retryAfterMs = parts.retryAfterMs;
    this.members = parts.members ?? {};
  }
}

/** No answer, or one that broke off. */
export function unreachable(cause: unknown): RolegateError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new RolegateError(`The server can't be reached${why}`, { code: "client_unreachable", cause });
}

/** Something that no Rolegate server sends. */
export function protocol(what: string, cause?: unknown): RolegateError {
  return new RolegateError(what, {
    code: "client_protocol",
    hint: "Is the URL that of a Rolegate gateway, and does every proxy before it pass its answers on unchanged?",
    cause,
  });
}

/** The members of a problem, of an `error` event, or of a JSON-RPC error's `data`. */
export function fromMembers(
  members: Record<string, unknown>,
  status: number,
  response?: Response,
): RolegateError {
  const message = text(members.title) ?? text(members.message) ?? `HTTP ${status}`;
  const own = members.status;
  return new RolegateError(message, {
    code: text(members.code) ?? `http_${status}`,
    status: typeof own === "number" ? own : status,
    hint: text(members.hint),
    detail: text(members.detail),
    sqlstate: text(members.sqlstate),
    requestId: text(members.request_id) ?? response?.headers.get("x-request-id") ?? undefined,
    retryAfterMs: retryAfter(response?.headers.get("retry-after")) ?? seconds(members.retry_after),
    members,
  });
}

/** The error of an answer that is one, from its body, which is a problem or a JSON-RPC response. */
export function fromBody(response: Response, body: unknown): RolegateError {
  if (!isRecord(body)) return fromMembers({}, response.status, response);
  const error = body.error;
  if (!isRecord(error)) return fromMembers(body, response.status, response);
  const data = isRecord(error.data) ? error.data : {};
  return fromMembers({ ...data, title: error.message }, response.status, response);
}

/** The error of an answer that is one. Reads the body. */
export async function fromResponse(response: Response): Promise<RolegateError> {
  let body: unknown;
  try {
    body = JSON.parse(await response.text());
  } catch {
    // Of a proxy, or cut off: the status is what is left.
  }
  return fromBody(response, body);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function seconds(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 ? value * 1000 : undefined;
}

/** `Retry-After` in milliseconds: whole seconds from the server, or a date from something before it. */
function retryAfter(value: string | null | undefined): number | undefined {
  if (!value) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
