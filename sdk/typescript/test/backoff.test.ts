import { expect, test } from "vitest";
import { Backoff } from "../src/live/backoff.js";

test("waits double, up to the most", () => {
  const backoff = new Backoff({ baseMs: 100, mostMs: 1000 }, () => 1);
  expect(Array.from({ length: 6 }, () => backoff.next())).toEqual([100, 200, 400, 800, 1000, 1000]);
});

test("is at random between half and all of it", () => {
  const least = new Backoff({ baseMs: 100, mostMs: 1000 }, () => 0);
  expect([least.next(), least.next()]).toEqual([50, 100]);
  const backoff = new Backoff({ baseMs: 100, mostMs: 100 });
  const waits = new Set(Array.from({ length: 50 }, () => backoff.next()));
  expect(waits.size).toBeGreaterThan(10);
  for (const wait of waits) expect(wait).toBeGreaterThanOrEqual(50);
});

test("begins again after a good connection", () => {
  const backoff = new Backoff({ baseMs: 100 }, () => 1);
  backoff.next();
  backoff.next();
  backoff.reset();
  expect(backoff.next()).toBe(100);
});

test("never asks before the server wants to be asked", () => {
  const backoff = new Backoff({ baseMs: 100, mostMs: 200 }, () => 0);
  expect(backoff.next(60_000)).toBe(60_000);
});

test("stays finite after thousands of failures", () => {
  const backoff = new Backoff({}, () => 1);
  for (let n = 0; n < 5000; n++) backoff.next();
  expect(backoff.next()).toBe(30_000);
});
