import { bytesOf, toHex } from "./hex.js";
import type { CallbackKey } from "./key.js";

export const SIGNATURE_HEADER = "Rolegate-Signature";
export const TIMESTAMP_HEADER = "Rolegate-Timestamp";
/** The older one: about the id alone. */
export const LEGACY_SIGNATURE_HEADER = "X-Awa-Signature";

/** What a call says about the job. */
export type CallbackAction = "complete" | "fail" | "heartbeat" | "resume";

/** The parts of a call that its signature is about. */
export interface SignedCall {
  /** `POST`, unless a receiver of your own wants something else. */
  method?: string;
  action: CallbackAction;
  /** The callback's id, letter by letter as in the path. */
  id: string;
  /** The body, byte by byte as it is sent; none is the empty text. */
  body?: string | Uint8Array;
  /** Seconds since 1970; now, if it is left out. */
  timestamp?: number;
}

/** The parts of a request to a function that its signature is about. */
export interface SignedRequest {
  method?: string;
  /** The value of `Idempotency-Key`. */
  idempotencyKey: string;
  body?: string | Uint8Array;
  timestamp?: number;
}

/** The two headers of a call to a callback. */
export async function signCall(key: CallbackKey, call: SignedCall): Promise<Record<string, string>> {
  const timestamp = String(call.timestamp ?? now());
  plain(call.method ?? "POST", call.id);
  return headers(key, timestamp, await callText(call, timestamp));
}

/** The two headers of a request to a function, as a worker makes them. */
export async function signRequest(key: CallbackKey, request: SignedRequest): Promise<Record<string, string>> {
  const timestamp = String(request.timestamp ?? now());
  plain(request.method ?? "POST", request.idempotencyKey);
  return headers(key, timestamp, await requestText(request, timestamp));
}

/** The older signature of a callback's id, for `X-Awa-Signature`: about no action, no body and no time. */
export function signLegacy(key: CallbackKey, id: string): string {
  return key.signId(id);
}

/** No other text that is ever signed with a key begins like one of these. */
export function callText(call: SignedCall, timestamp: string): Promise<Uint8Array<ArrayBuffer>> {
  const { method = "POST", action, id, body = "" } = call;
  return lines("rolegate-callback-v1", [method, action, id, timestamp], body);
}

export function requestText(request: SignedRequest, timestamp: string): Promise<Uint8Array<ArrayBuffer>> {
  const { method = "POST", idempotencyKey, body = "" } = request;
  return lines("rolegate-request-v1", [method, idempotencyKey, timestamp], body);
}

export function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** The name of a scheme, and parts that can't run into each other. */
async function lines(
  scheme: string,
  parts: string[],
  body: string | Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  const digest = toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(body))));
  const counted = [...parts, digest].map((part) => `\n${bytesOf(part).length}:${part}`);
  return bytesOf(scheme + counted.join(""));
}

async function headers(
  key: CallbackKey,
  timestamp: string,
  text: Uint8Array<ArrayBuffer>,
): Promise<Record<string, string>> {
  if (!/^[1-9][0-9]{0,11}$/.test(timestamp)) throw new TypeError("a time is in whole seconds since 1970");
  return {
    [TIMESTAMP_HEADER]: timestamp,
    [SIGNATURE_HEADER]: `v1,${key.id},${await key.sign(text)}`,
  };
}

function plain(...parts: string[]): void {
  if (!parts.every((part) => /^[\x21-\x7e]+$/.test(part))) {
    throw new TypeError("a method and an id have printable ASCII characters only");
  }
}
