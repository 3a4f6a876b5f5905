import { fromHex } from "./hex.js";
import { type CallbackKey, isKeyId } from "./key.js";
import {
  callText,
  LEGACY_SIGNATURE_HEADER,
  now,
  requestText,
  SIGNATURE_HEADER,
  type SignedCall,
  type SignedRequest,
  TIMESTAMP_HEADER,
} from "./signature.js";

/** Why something is refused. For your log; tell the caller no more than 401. */
export type Refusal = "missing" | "repeated" | "malformed" | "unknown_key" | "skew" | "wrong" | "legacy_off";

const MESSAGES: Record<Refusal, string> = {
  missing: "there is no signature",
  repeated: "a header is there more than once",
  malformed: "the signature or its time is malformed",
  unknown_key: "the key is not known",
  skew: "the time of signing is too far from now",
  wrong: "the signature is wrong",
  legacy_off: "signatures of the id alone are not accepted",
};

export class SignatureRefused extends Error {
  override readonly name = "SignatureRefused";
  readonly reason: Refusal;

  constructor(reason: Refusal) {
    super(MESSAGES[reason]);
    this.reason = reason;
  }
}

/** Of `fetch`, or of Node's `IncomingMessage`. */
export type HeaderSource = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

/** Who signed, and when; no time if only the id was signed. */
export interface Accepted {
  keyId: string;
  timestamp: number | undefined;
}

export interface VerifierOptions {
  /** How far the time of signing may be from this clock, either way. 300. */
  skewSeconds?: number;
  /** Whether the older signature of the id alone is enough for a call. No. */
  acceptLegacy?: boolean;
  /** This clock, in seconds since 1970. */
  clock?: () => number;
}

/** Accepts what one of its keys signed. While keys are rotated there are two. */
export class Verifier {
  readonly #keys: readonly CallbackKey[];
  readonly #skew: number;
  readonly #legacy: boolean;
  readonly #clock: () => number;

  constructor(keys: readonly CallbackKey[], options: VerifierOptions = {}) {
    if (keys.length === 0) throw new TypeError("there is no callback key");
    keys.forEach((key, nth) => {
      for (const other of keys.slice(0, nth)) {
        if (other.id === key.id) throw new TypeError(`there are two callback keys ${key.id}`);
        if (other.hasSecretOf(key)) {
          throw new TypeError(`the callback keys ${other.id} and ${key.id} have the same secret`);
        }
      }
    });
    this.#keys = [...keys];
    this.#skew = options.skewSeconds ?? 300;
    this.#legacy = options.acceptLegacy ?? false;
    this.#clock = options.clock ?? now;
  }

  /** Fails with `SignatureRefused` unless the request to a function is from a worker that has a key. */
  async request(headers: HeaderSource, request: Omit<SignedRequest, "timestamp">): Promise<Accepted> {
    return this.#verify(headers, (timestamp) => requestText(request, timestamp));
  }

  /**
   * The same for a call to a callback, in a receiver of your own. A call with the new headers counts by
   * them alone, whatever else it brings.
   */
  async call(headers: HeaderSource, call: Omit<SignedCall, "timestamp">): Promise<Accepted> {
    const isNew = [SIGNATURE_HEADER, TIMESTAMP_HEADER].some((name) => values(headers, name).length > 0);
    return isNew
      ? this.#verify(headers, (timestamp) => callText(call, timestamp))
      : this.#verifyId(headers, call.id);
  }

  async #verify(
    headers: HeaderSource,
    text: (timestamp: string) => Promise<Uint8Array<ArrayBuffer>>,
  ): Promise<Accepted> {
    const signature = only(values(headers, SIGNATURE_HEADER));
    const timestamp = only(values(headers, TIMESTAMP_HEADER));
    // One way to write a number, so that the text is what was signed. Two values of a header that were
    // joined by a comma are malformed, too.
    const [version, keyId = "", digits = "", more] = signature.split(",");
    const tag = /[A-F]/.test(digits) ? undefined : fromHex(digits);
    const isTime = /^[1-9][0-9]{0,11}$/.test(timestamp);
    if (version !== "v1" || !isKeyId(keyId) || !tag || more !== undefined || !isTime) {
      throw new SignatureRefused("malformed");
    }
    const key = this.#keys.find(({ id }) => id === keyId);
    if (!key) throw new SignatureRefused("unknown_key");
    if (!(await key.verify(await text(timestamp), tag))) throw new SignatureRefused("wrong");
    // Not the other way round: a clock that gives no number accepts nothing.
    if (!(Math.abs(Number(timestamp) - this.#clock()) <= this.#skew)) throw new SignatureRefused("skew");
    return { keyId, timestamp: Number(timestamp) };
  }

  #verifyId(headers: HeaderSource, id: string): Accepted {
    const given = values(headers, LEGACY_SIGNATURE_HEADER);
    if (given.length === 0) throw new SignatureRefused("missing");
    if (!this.#legacy) throw new SignatureRefused("legacy_off");
    const digits = only(given);
    const tag = /[A-F]/.test(digits) ? undefined : fromHex(digits);
    if (!tag || id.length > 256) throw new SignatureRefused("wrong");
    // All of them, so that the time does not say which one it was.
    const [key] = this.#keys.filter((key) => key.verifyId(id, tag));
    if (!key) throw new SignatureRefused("wrong");
    return { keyId: key.id, timestamp: undefined };
  }
}

export function values(headers: HeaderSource, name: string): readonly string[] {
  // Not by its class: there are several of that name.
  if (isHeaders(headers)) {
    const value = headers.get(name);
    return value === null ? [] : [value];
  }
  const wanted = name.toLowerCase();
  return Object.entries(headers).flatMap(([name, value]) =>
    name.toLowerCase() === wanted && value !== undefined ? value : [],
  );
}

function isHeaders(headers: HeaderSource): headers is Headers {
  return typeof headers.get === "function";
}

function only(values: readonly string[]): string {
  const [value, another] = values;
  if (value === undefined) throw new SignatureRefused("missing");
  if (another !== undefined) throw new SignatureRefused("repeated");
  return value;
}
