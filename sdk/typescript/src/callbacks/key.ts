import { keyedHash } from "./blake3.js";
import { fromHex, toHex } from "./hex.js";

const HMAC = { name: "HMAC", hash: "SHA-256" } as const;

/** A secret of 32 bytes with the name it goes by. It is not shown, and not given out. */
export class CallbackKey {
  readonly id: string;
  readonly #hmac: CryptoKey;
  /** Only for the older signature, which Web Crypto does not have, and to compare keys. */
  readonly #secret: Uint8Array;

  private constructor(id: string, hmac: CryptoKey, secret: Uint8Array) {
    this.id = id;
    this.#hmac = hmac;
    this.#secret = secret;
  }

  /** A key of 64 hexadecimal digits, as its file has it (`openssl rand -hex 32`), or of 32 bytes. */
  static async of(id: string, secret: string | Uint8Array): Promise<CallbackKey> {
    if (!isKeyId(id)) {
      throw new TypeError("a key id has 1 to 64 letters, digits, dots, hyphens and underscores");
    }
    const bytes = typeof secret === "string" ? fromHex(secret.trim()) : new Uint8Array(secret);
    if (bytes?.length !== 32) {
      throw new TypeError("a callback key is 64 hexadecimal digits; make one with: openssl rand -hex 32");
    }
    const hmac = await crypto.subtle.importKey("raw", bytes, HMAC, false, ["sign", "verify"]);
    return new CallbackKey(id, hmac, bytes);
  }

  async sign(text: Uint8Array<ArrayBuffer>): Promise<string> {
    return toHex(new Uint8Array(await crypto.subtle.sign(HMAC, this.#hmac, text)));
  }

  /** Compares in constant time: Web Crypto's specification says so. */
  async verify(text: Uint8Array<ArrayBuffer>, tag: Uint8Array<ArrayBuffer>): Promise<boolean> {
    return crypto.subtle.verify(HMAC, this.#hmac, tag, text);
  }

  signId(id: string): string {
    return toHex(keyedHash(this.#secret, new TextEncoder().encode(id)));
  }

  /** Compares all 32 bytes, whatever is wrong. */
  verifyId(id: string, tag: Uint8Array): boolean {
    return same(keyedHash(this.#secret, new TextEncoder().encode(id)), tag);
  }

  /** Whether the other one is the same secret under another name. */
  hasSecretOf(other: CallbackKey): boolean {
    return same(this.#secret, other.#secret);
  }
}

export function isKeyId(id: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(id);
}

function same(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  return one.reduce((differ, byte, n) => differ | (byte ^ (other[n] as number)), 0) === 0;
}
