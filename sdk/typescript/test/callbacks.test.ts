import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { keyedHash } from "../src/callbacks/blake3.js";
import { bytesOf, toHex } from "../src/callbacks/hex.js";
import {
  type CallbackAction,
  CallbackKey,
  type HeaderSource,
  SignatureRefused,
  signCall,
  signLegacy,
  signRequest,
  Verifier,
  type VerifierOptions,
} from "../src/callbacks.js";

const reference = (page: string) =>
  readFileSync(new URL(`../../../docs/reference/${page}`, import.meta.url), "utf8");

const ID = "0f8fad5b-d9cb-469f-a165-70867728950e";
const NOW = 1_790_000_000;
const ACTIONS: CallbackAction[] = ["complete", "fail", "heartbeat", "resume"];
const PINNED = "b1495225f01fa8cd09e410d288d09b68c1cc9fb2414686c0d3ac13fc905497d9";

const key = (id: string, byte: number) => CallbackKey.of(id, new Uint8Array(32).fill(byte));
const call = { action: "complete" as CallbackAction, id: ID, body: "{}" };

/** The reason of a refusal, or undefined. */
async function refusal(said: Promise<unknown>): Promise<string | undefined> {
  try {
    await said;
    return undefined;
  } catch (error) {
    if (error instanceof SignatureRefused) return error.reason;
    throw error;
  }
}

async function verifier(options: VerifierOptions = {}): Promise<Verifier> {
  return new Verifier([await key("old", 1), await key("new", 2)], { clock: () => NOW, ...options });
}

const says = async (headers: HeaderSource, options?: VerifierOptions) =>
  refusal((await verifier(options)).call(headers, call));

describe("the vectors of the reference", () => {
  const [, table = ""] = reference("callbacks.md").split("| key id |");
  const rows = table
    .split("\n")
    .slice(2)
    .filter((line) => line.startsWith("| `"))
    .map((line) =>
      line
        .split("|")
        .slice(1)
        .map((cell) => cell.trim().replace(/^`|`$/g, "")),
    );
  test("are there", () => expect(rows.length).toBeGreaterThanOrEqual(3));

  test.each(rows)(
    "hold %s %s %s %s",
    async (keyId = "", secret = "", action, id = "", time, text, header) => {
      const signer = await CallbackKey.of(keyId, secret);
      const body = text === "(empty)" ? "" : (text ?? "");
      const signed = { action: action as CallbackAction, id, body };
      const headers = await signCall(signer, { ...signed, timestamp: Number(time) });
      expect(headers).toEqual({ "Rolegate-Timestamp": time, "Rolegate-Signature": header });
      const verifier = new Verifier([signer], { clock: () => Number(time) });
      expect(await verifier.call(headers, signed)).toEqual({ keyId, timestamp: Number(time) });
    },
  );

  test("hold for a request to a function", async () => {
    const page = reference("function-requests.md");
    const [, secret = "", header = ""] = /^([0-9a-f]{64})\n(v1,functions,.*)$/m.exec(page) ?? [];
    const [body = ""] = /^\{"job_id":17.*$/m.exec(page) ?? [];
    const signer = await CallbackKey.of("functions", secret);
    const request = { idempotencyKey: "app-17", body };
    const headers = await signRequest(signer, { ...request, timestamp: NOW });
    expect(headers["Rolegate-Signature"]).toBe(header);
    const verifier = new Verifier([signer], { clock: () => NOW + 100 });
    expect(await verifier.request(headers, request)).toEqual({ keyId: "functions", timestamp: NOW });
    for (const other of [
      { ...request, body: `${body} ` },
      { ...request, idempotencyKey: "app-18" },
      { ...request, method: "PUT" },
    ]) {
      expect(await refusal(verifier.request(headers, other))).toBe("wrong");
    }
    // Who gets a request can't answer a callback with it.
    for (const action of ACTIONS) {
      expect(await refusal(verifier.call(headers, { action, id: "app-17", body }))).toBe("wrong");
    }
  });

  test("hold for the id alone", async () => {
    expect(reference("callbacks.md")).toContain(PINNED);
    expect(signLegacy(await key("k", 7), "abc")).toBe(PINNED);
  });

  // Made with the reference implementation: the key 00 to 1f, bytes that count up to 250.
  test.each([
    [0, "73492b19995d71cdb1e9d74decc09809eb732f1b00bc95c27cb15f9dd4d6478f"],
    [36, "6f20e7117eb033ddbf36e495054a52a3859298acb4813a6f81b0f1b7318f3df9"],
    [63, "e471df92f6f7dee100138af7da29695906b0dc34ccde2142a730dd4ebcbc09cc"],
    [64, "cfaf838ff320e0d87301dcba02b1a4bb397d65119f57403df2817a51d4025f9b"],
    [65, "d8a45528bfa93a0d9b7bf4c840b68f64af0b9ad3d0bbd6c1421c2a4cf1cdf3b4"],
    [129, "ab3c5cbf1ed4fa7dfdca2b6969e6f3b7e52edc55880ad58dca0eca156ef4b37c"],
    [1024, "f45a9249a627fdf1fcf13c0e6376f6a9a9b2056d6e1b5693a4b119a3453665f9"],
  ])("hold for a keyed hash of %i bytes", (length, expected) => {
    const count = (length: number) => Uint8Array.from({ length }, (_, n) => n % 251);
    expect(toHex(keyedHash(count(32), count(length)))).toBe(expected);
    expect(() => keyedHash(count(32), count(1025))).toThrow(RangeError);
  });
});

describe("a verifier", () => {
  test("takes what each of its keys signed", async () => {
    for (const signer of [await key("old", 1), await key("new", 2)]) {
      const headers = await signCall(signer, { ...call, timestamp: NOW });
      expect(await (await verifier()).call(headers, call)).toEqual({ keyId: signer.id, timestamp: NOW });
      expect(await (await verifier()).call(new Headers(headers), call)).toMatchObject({ keyId: signer.id });
    }
  });

  test("takes a signature for one call only", async () => {
    const headers = await signCall(await key("new", 2), { ...call, timestamp: NOW });
    for (const other of [
      { ...call, method: "PUT" },
      { ...call, action: "fail" as const },
      { ...call, id: "0f8fad5b-d9cb-469f-a165-70867728950f" },
      { ...call, id: ID.toUpperCase() },
      { ...call, body: "{ }" },
      { ...call, body: "" },
    ]) {
      expect(await refusal((await verifier()).call(headers, other)), JSON.stringify(other)).toBe("wrong");
    }
    expect(await says({ ...headers, "Rolegate-Timestamp": String(NOW + 1) })).toBe("wrong");
    // Parts can't be moved from one to the next.
    await expect(signCall(await key("k", 1), { ...call, method: "POST\n8:complete" })).rejects.toThrow(
      TypeError,
    );
    await expect(signCall(await key("k", 1), { ...call, id: "" })).rejects.toThrow(TypeError);
  });

  test("takes a key under its own name only", async () => {
    const headers = await signCall(await key("new", 2), { ...call, timestamp: NOW });
    const tag = headers["Rolegate-Signature"]?.split(",").at(-1) ?? "";
    for (const [header, refused] of [
      [`v1,old,${tag}`, "wrong"],
      [`v1,none,${tag}`, "unknown_key"],
      [`v1,,${tag}`, "malformed"],
      [`v1,new,old,${tag}`, "malformed"],
      [`v1,${tag}`, "malformed"],
      [`v2,new,${tag}`, "malformed"],
      [`v1,new,${tag.toUpperCase()}`, "malformed"],
      [`v1,new,${tag}00`, "malformed"],
      [`v1,new,${tag.slice(1)} `, "malformed"],
      [` v1,new,${tag}`, "malformed"],
      [`v1,new,${tag}, v1,new,${tag}`, "malformed"],
      ["", "malformed"],
    ] as const) {
      expect(await says({ ...headers, "Rolegate-Signature": header }), header).toBe(refused);
    }
  });

  test("bounds the time both ways, written in one way", async () => {
    const signer = await key("new", 2);
    const at = async (timestamp: number, options?: VerifierOptions) =>
      says(await signCall(signer, { ...call, timestamp }), options);
    expect(await at(NOW - 300)).toBeUndefined();
    expect(await at(NOW + 300)).toBeUndefined();
    expect(await at(NOW - 301)).toBe("skew");
    expect(await at(NOW + 301)).toBe("skew");
    expect(await at(NOW - 11, { skewSeconds: 10 })).toBe("skew");
    expect(await at(NOW, { clock: () => Number.NaN })).toBe("skew");
    const headers = await signCall(signer, { ...call, timestamp: NOW });
    for (const text of [
      "",
      "+1790000000",
      "01790000000",
      "1790000000.0",
      " 1790000000",
      "-1",
      "１７",
      "9999999999999",
    ]) {
      expect(await says({ ...headers, "Rolegate-Timestamp": text }), text).toBe("malformed");
    }
    for (const timestamp of [0, -1, 1.5, Number.NaN, 1e12]) {
      await expect(signCall(signer, { ...call, timestamp })).rejects.toThrow(TypeError);
    }
    // Unless they are told another one, both look at the clock.
    const now = new Verifier([signer]);
    expect(await now.call(await signCall(signer, call), call)).toMatchObject({ keyId: "new" });
  });

  test("takes each header once", async () => {
    const { "Rolegate-Signature": s = "", "Rolegate-Timestamp": t = "" } = await signCall(
      await key("new", 2),
      {
        ...call,
        timestamp: NOW,
      },
    );
    for (const [headers, refused] of [
      [{ "rolegate-signature": s, "rolegate-timestamp": [t] }, undefined],
      [{ "rolegate-signature": [s, s], "rolegate-timestamp": t }, "repeated"],
      [{ "rolegate-signature": s, "Rolegate-Signature": s, "rolegate-timestamp": t }, "repeated"],
      [{ "rolegate-signature": s, "rolegate-timestamp": [t, t] }, "repeated"],
      [{ "rolegate-signature": s }, "missing"],
      [{ "rolegate-timestamp": t }, "missing"],
      [{}, "missing"],
    ] as const) {
      expect(await says(headers), JSON.stringify(headers)).toBe(refused);
    }
    const twice = new Headers({ "rolegate-signature": s, "rolegate-timestamp": t });
    twice.append("rolegate-timestamp", t);
    expect(await says(twice)).toBe("malformed");
  });

  test("takes the id alone only if somebody said so", async () => {
    const legacy = { "X-Awa-Signature": signLegacy(await key("new", 2), ID) };
    const accepting = await verifier({ acceptLegacy: true });
    expect(await says(legacy)).toBe("legacy_off");
    expect(await accepting.call(legacy, { ...call, action: "fail", body: "x" })).toEqual({
      keyId: "new",
      timestamp: undefined,
    });
    const tag = legacy["X-Awa-Signature"];
    for (const [signature, id, refused] of [
      [[tag, tag], ID, "repeated"],
      [tag.toUpperCase(), ID, "wrong"],
      [tag.slice(1), ID, "wrong"],
      [`${tag} `, ID, "wrong"],
      // All of it counts, and not only how it ends.
      [`${tag.startsWith("0") ? "1" : "0"}${tag.slice(1)}`, ID, "wrong"],
      [tag, `${ID}0`, "wrong"],
      [tag, "x".repeat(2000), "wrong"],
      [signLegacy(await key("other", 3), ID), ID, "wrong"],
    ] as const) {
      const said = accepting.call({ "X-Awa-Signature": signature }, { ...call, id });
      expect(await refusal(said), `${signature} ${id}`).toBe(refused);
    }
    // Beside a new header it does not count, and for a request it never does.
    const both = { ...legacy, "Rolegate-Signature": "v1,new,00", "Rolegate-Timestamp": String(NOW) };
    expect(await says(both, { acceptLegacy: true })).toBe("malformed");
    expect(await says({ ...legacy, "Rolegate-Timestamp": "1" }, { acceptLegacy: true })).toBe("missing");
    expect(await refusal(accepting.request(legacy, { idempotencyKey: ID }))).toBe("missing");
  });

  test("compares by Web Crypto, and not itself", async () => {
    const verify = vi.spyOn(crypto.subtle, "verify");
    const headers = await signCall(await key("new", 2), { ...call, timestamp: NOW });
    expect(await says(headers)).toBeUndefined();
    expect(verify).toHaveBeenCalledOnce();
    verify.mockRestore();
  });

  test("refuses keys that can be mixed up", async () => {
    expect(() => new Verifier([])).toThrow("there is no callback key");
    const [a1, a2, b1] = await Promise.all([key("a", 1), key("a", 2), key("b", 1)]);
    expect(() => new Verifier([a1, a2])).toThrow("two callback keys a");
    expect(() => new Verifier([a1, b1])).toThrow("a and b have the same secret");
  });
});

test("keys are checked and never shown", async () => {
  const made = await CallbackKey.of("2026-11", `${"Ab".repeat(32)}\n`);
  expect(toHex(bytesOf(JSON.stringify(made)))).not.toContain("abab");
  expect(JSON.stringify(made)).toBe('{"id":"2026-11"}');
  for (const id of ["", "a,b", "a b", "ä", "a\n", "x".repeat(65)]) {
    await expect(CallbackKey.of(id, new Uint8Array(32))).rejects.toThrow("a key id has");
  }
  for (const secret of ["", "ab", "g0".repeat(32), "+1".repeat(32), new Uint8Array(31), new Uint8Array(64)]) {
    await expect(CallbackKey.of("a", secret)).rejects.toThrow("64 hexadecimal digits");
  }
});
