import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type SseEvent, SseParser } from "../src/live/sse.js";

/** Everything that comes out of these bytes, cut where the test says. */
function parse(bytes: Uint8Array, cuts: number[] = []): { events: SseEvent[]; retryMs: number | undefined } {
  const parser = new SseParser(1_000_000);
  const decoder = new TextDecoder();
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const events: SseEvent[] = [];
  let from = 0;
  for (const to of [...ends, bytes.length]) {
    events.push(...parser.push(decoder.decode(bytes.subarray(from, to), { stream: true })));
    from = to;
  }
  return { events, retryMs: parser.retryMs };
}

const bytes = (text: string) => new TextEncoder().encode(text);
const dataOf = (text: string) => parse(bytes(text)).events.map((event) => event.data);

describe("the parser", () => {
  test("takes every kind of line end", () => {
    expect(dataOf("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d\r\n\n")).toEqual(["a", "b", "c", "d"]);
  });

  test("joins lines of data, and takes one space away", () => {
    expect(dataOf("data: a\ndata:b\ndata:  c\ndata\n\n")).toEqual(["a\nb\n c\n"]);
  });

  test("gives events without data to nobody", () => {
    expect(parse(bytes("event: x\nid: 1\n\ndata: y\n\n")).events).toEqual([
      { name: "message", data: "y", lastId: "1" },
    ]);
  });

  test("knows an event with empty data", () => {
    expect(dataOf("data\n\n")).toEqual([""]);
  });

  test("leaves comments and unknown fields out", () => {
    expect(dataOf(": heartbeat\n\ndata: a\nfoo: bar\n:x\n\n")).toEqual(["a"]);
  });

  test("leaves the byte order mark at the beginning out, and only there", () => {
    expect(dataOf("\ufeffdata: a\n\n\ufeffdata: b\n\ndata: \ufeffc\n\n")).toEqual(["a", "\ufeffc"]);
  });

  test("keeps the id until there is another; one with NUL is none", () => {
    const { events } = parse(bytes("id: 1\ndata: a\n\ndata: b\n\nid: \0\ndata: c\n\nid\ndata: d\n\n"));
    expect(events.map((event) => event.lastId)).toEqual(["1", "1", "1", ""]);
  });

  test("reads retry if it is digits only", () => {
    expect(parse(bytes("retry: 250\nretry: 1.5\nretry: x\nretry:\n\n")).retryMs).toBe(250);
  });

  test("drops what has no end", () => {
    expect(dataOf("data: a\n\ndata: b\n")).toEqual(["a"]);
  });

  test("holds no more than it may", () => {
    const lines = new SseParser(100);
    expect(() => lines.push("data: 0123456789\n".repeat(10))).toThrow(/more than 100/);
    const line = new SseParser(100);
    line.push(`data: ${"x".repeat(60)}`);
    expect(() => line.push("x".repeat(60))).toThrow(/more than 100/);
    const many = new SseParser(100);
    for (let n = 0; n < 50; n++) expect(many.push("data: 0123456789\n\n")).toHaveLength(1);
  });
});

/** Texts with what is hard: line ends are put in by the writer below. */
const value = fc
  .string({ unit: fc.constantFrom("a", " ", ":", "é", "𝄞", "\ufeff", "0", "{", '"') })
  .filter((text) => !text.startsWith(" "));
const end = fc.constantFrom("\n", "\r\n", "\r");
const block = fc.record({
  name: fc.option(
    value.filter((text) => text !== ""),
    { nil: undefined },
  ),
  data: fc.array(value, { minLength: 1, maxLength: 3 }),
  id: fc.option(value, { nil: undefined }),
  comment: fc.option(value, { nil: undefined }),
});

type Block = typeof block extends fc.Arbitrary<infer B> ? B : never;

/** Lines end in one way: a carriage return of one line and a line feed of the next would be one end. */
function write(blocks: Block[], way: string): string {
  return blocks
    .map(({ name, data, id, comment }) => {
      const lines = [
        ...(comment === undefined ? [] : [`:${comment}`]),
        ...(name === undefined ? [] : [`event: ${name}`]),
        ...(id === undefined ? [] : [`id: ${id}`]),
        ...data.map((part) => `data: ${part}`),
        "",
      ];
      return lines.map((line) => line + way).join("");
    })
    .join("");
}

test("it makes no difference where the bytes are cut", () => {
  const run = fc.property(
    fc.array(block, { maxLength: 5 }),
    end,
    fc.array(fc.nat({ max: 500 }), { maxLength: 30 }),
    (blocks, way, cuts) => {
      let lastId = "";
      const expected = blocks.map(({ name = "message", data, id }) => {
        lastId = id ?? lastId;
        return { name, data: data.join("\n"), lastId };
      });
      const stream = bytes(write(blocks, way));
      expect(parse(stream).events).toEqual(expected);
      expect(parse(stream, cuts).events).toEqual(expected);
      expect(parse(stream, [...stream.keys()]).events).toEqual(expected);
    },
  );
  fc.assert(run, { numRuns: 300 });
});
