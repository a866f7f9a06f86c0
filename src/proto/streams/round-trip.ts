import type { Instant } from "../machine.ts";

/**
 * The round-trip time of a link: smoothed with its variation (RFC 6298), for time-outs and for people, and its recent
 * minimum, which is what the path takes when nothing queues, and its recent maximum, which tells whether packets get
 * lost.
 */
export class RoundTrip {
  #smoothedMs: number | undefined;
  #variationMs = 0;
  #minimumMs = Number.POSITIVE_INFINITY;
  #earlierMinimumMs = Number.POSITIVE_INFINITY;
  #windowStartedAt: Instant = 0;
  #largestMs = 0;
  #earlierLargestMs = ASSUMED_STALL_MS;
  #stallsStartedAt: Instant | undefined;

  /** Smoothed, milliseconds; undefined before the first sample. */
  get smoothedMs(): number | undefined {
    return this.#smoothedMs;
  }

  /** Mean deviation, milliseconds. */
  get variationMs(): number {
    return this.#variationMs;
  }

  /** The smallest of the last {@link MINIMUM_WINDOW_MS} to twice as long; Infinity before the first sample. */
  get minimumMs(): number {
    return Math.min(this.#minimumMs, this.#earlierMinimumMs);
  }

  /**
   * The largest of the last {@link STALL_WINDOW_MS} to twice as long; at the start {@link ASSUMED_STALL_MS} at least.
   */
  get largestMs(): number {
    return Math.max(this.#largestMs, this.#earlierLargestMs);
  }

  /** Takes a sample for the extremes: there is one for every acknowledgement. */
  observe(rttMs: number, now: Instant): void {
    if (now - this.#windowStartedAt > MINIMUM_WINDOW_MS) {
      this.#earlierMinimumMs = this.#minimumMs;
      this.#minimumMs = rttMs;
      this.#windowStartedAt = now;
    } else if (rttMs < this.#minimumMs) this.#minimumMs = rttMs;
    this.#stallsStartedAt ??= now;
    if (now - this.#stallsStartedAt > STALL_WINDOW_MS) {
      this.#earlierLargestMs = this.#largestMs;
      this.#largestMs = rttMs;
      this.#stallsStartedAt = now;
    } else if (rttMs > this.#largestMs) this.#largestMs = rttMs;
  }

  /**
   * Takes a sample for the smoothed value: one for each round trip, or the variation would forget a stall in no time.
   */
  smooth(rttMs: number): void {
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = rttMs;
      this.#variationMs = rttMs / 2;
      return;
    }
    this.#variationMs += (Math.abs(this.#smoothedMs - rttMs) - this.#variationMs) / 4;
    this.#smoothedMs += (rttMs - this.#smoothedMs) / 8;
  }

  /** The path has changed: forgets the minimum in favour of `rttMs`. */
  restart(rttMs: number, now: Instant): void {
    this.#earlierMinimumMs = Number.POSITIVE_INFINITY;
    this.#minimumMs = rttMs;
    this.#windowStartedAt = now;
  }
}

/** As in BBR: paths rarely change more often, and the pacer drains the path once in this time to see the bottom. */
export const MINIMUM_WINDOW_MS = 10_000;

/** How long a stall is remembered: a path that has lost a packet will lose more. */
const STALL_WINDOW_MS = 30_000;

/** Until a path has shown itself for a while it is assumed to stall as one with losses does: SCTP's time-out of 1 s. */
const ASSUMED_STALL_MS = 1_000;
