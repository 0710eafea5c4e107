/** How long to wait before the next try. */

export interface BackoffOptions {
  base_ms: number;
  max_ms: number;
  factor: number;
  /** Up to this share is added at random, so that a thousand tabs don't return together. */
  jitter: number;
  tries: number;
  /** A connection that lasted this long starts the count anew. */
  uptime_ms: number;
  slow_ms: readonly [number, number];
}

export const BACKOFF: BackoffOptions = {
  base_ms: 1_000,
  max_ms: 30_000,
  factor: 2,
  jitter: 0.5,
  tries: 10,
  uptime_ms: 5_000,
  slow_ms: [30_000, 60_000],
};

export class Backoff {
  private failed = 0;

  constructor(
    private readonly options: BackoffOptions = BACKOFF,
    private readonly random: () => number = Math.random,
  ) {}

  /** The delay before the next try; the first comes within a second. */
  next(): number {
    const { base_ms, max_ms, factor, jitter, slow_ms } = this.options;
    const failed = this.failed++;
    if (failed === 0) return this.random() * base_ms;
    if (this.exhausted) return slow_ms[0] + this.random() * (slow_ms[1] - slow_ms[0]);
    return Math.min(max_ms, base_ms * factor ** (failed - 1)) * (1 + jitter * this.random());
  }

  /** All quick tries are used up: from here on slowly, and only while somebody looks. */
  get exhausted(): boolean {
    return this.failed > this.options.tries;
  }

  reset(): void {
    this.failed = 0;
  }
}
