import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createClient, type Fetch } from "../src/index.js";
import { event, snapshot } from "./support/stage.js";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(1);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** Connections that were opened, and when. */
class Line {
  readonly times: number[] = [];
  readonly #began = Date.now();
  #write: ((text: string) => void) | undefined;
  #end: (() => void) | undefined;
  /** What a connection gets. */
  answer: "stream" | "refused" | "nothing" = "stream";

  readonly fetch: Fetch = async () => {
    this.times.push(Date.now() - this.#began);
    if (this.answer === "refused") throw new TypeError("connection refused");
    // Takes no notice of its signal: the client does not depend on that.
    if (this.answer === "nothing") return new Promise<Response>(() => {});
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#write = (text) => controller.enqueue(new TextEncoder().encode(text));
        this.#end = () => controller.close();
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  };

  write(text: string): void {
    this.#write?.(text);
  }

  end(): void {
    this.#end?.();
  }
}

function start(line: Line) {
  const statuses: string[] = [];
  const client = createClient({ url: "http://test", fetch: line.fetch });
  const live = client.live("select 1", [], {
    heartbeatMs: 1000,
    backoff: { baseMs: 100, mostMs: 1000 },
    onStatus: (status, error) => statuses.push(error ? `${status} ${error.code}` : status),
  });
  return { live, statuses };
}

test("the wait doubles while nobody answers, and is short again after a good stream", async () => {
  const line = new Line();
  line.answer = "refused";
  const { live } = start(line);
  await vi.advanceTimersByTimeAsync(3500);
  expect(line.times).toEqual([0, 100, 300, 700, 1500, 2500, 3500]);
  line.answer = "stream";
  await vi.advanceTimersByTimeAsync(1000);
  for (let second = 0; second < 11; second++) {
    line.write(": heartbeat\n\n");
    await vi.advanceTimersByTimeAsync(1000);
  }
  line.end();
  const ended = line.times.length;
  await vi.advanceTimersByTimeAsync(99);
  expect(line.times).toHaveLength(ended);
  await vi.advanceTimersByTimeAsync(1);
  expect(line.times).toHaveLength(ended + 1);
  live.close();
  await live.closed;
  expect(vi.getTimerCount()).toBe(0);
});

test("streams that end at once are not opened without a pause", async () => {
  const line = new Line();
  const { live } = start(line);
  for (let n = 0; n < 5; n++) {
    await vi.advanceTimersByTimeAsync(0);
    line.write(event("snapshot", snapshot([]), "a"));
    line.end();
    await vi.advanceTimersByTimeAsync(1000);
  }
  expect(line.times.length).toBeLessThanOrEqual(7);
  live.close();
});

test("a stream may say how long to wait", async () => {
  const line = new Line();
  const { live } = start(line);
  await vi.advanceTimersByTimeAsync(0);
  line.write("retry: 400\n\n");
  await vi.advanceTimersByTimeAsync(0);
  line.end();
  await vi.advanceTimersByTimeAsync(399);
  expect(line.times).toEqual([0]);
  await vi.advanceTimersByTimeAsync(1);
  expect(line.times).toEqual([0, 400]);
  live.close();
});

test("a stream without heartbeats is given up, one with them is not", async () => {
  const line = new Line();
  const { live, statuses } = start(line);
  await vi.advanceTimersByTimeAsync(0);
  line.write(event("snapshot", snapshot([]), "a"));
  for (let n = 0; n < 20; n++) {
    await vi.advanceTimersByTimeAsync(2400);
    line.write(":\n");
  }
  expect(line.times).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(2499);
  expect(statuses).toEqual(["live"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(statuses).toEqual(["live", "reconnecting client_silent"]);
  await vi.advanceTimersByTimeAsync(100);
  expect(line.times).toHaveLength(2);
  live.close();
});

test("a server that does not even answer is given up as well", async () => {
  const line = new Line();
  line.answer = "nothing";
  const { live, statuses } = start(line);
  await vi.advanceTimersByTimeAsync(2600);
  expect(statuses).toEqual(["connecting client_silent"]);
  expect(line.times).toEqual([0, 2600]);
  live.close();
  await live.closed;
  expect(vi.getTimerCount()).toBe(0);
});
