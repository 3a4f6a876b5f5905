/** How long to wait before each reconnect. */
export interface BackoffOptions {
  /** Before the first reconnect; a `retry:` of the stream replaces it. */
  baseMs?: number;
  /** At most. */
  mostMs?: number;
}

/** Twice as long each time, between half and all of it at random, so that clients don't come back together. */
export class Backoff {
  #baseMs: number;
  readonly #mostMs: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(options: BackoffOptions = {}, random: () => number = Math.random) {
    this.#baseMs = options.baseMs ?? 500;
    this.#mostMs = options.mostMs ?? 30_000;
    this.#random = random;
  }

  set baseMs(ms: number) {
    this.#baseMs = Math.min(Math.max(ms, 1), this.#mostMs);
  }

  /** Milliseconds to wait now, at least as long as the server said. */
  next(retryAfterMs = 0): number {
    const full = Math.min(this.#baseMs * 2 ** Math.min(this.#failures, 30), this.#mostMs);
    this.#failures += 1;
    return Math.max(full / 2 + (this.#random() * full) / 2, retryAfterMs);
  }

  /** The connection was a good one. */
  reset(): void {
    this.#failures = 0;
  }
}
