import type { Instant } from "./machine.ts";

/** How much a {@link TokenBucket} allows. */
export interface Rate {
  /** Tokens that come back each second. */
  readonly perSecond: number;
  /** Tokens in a full bucket: what may be spent at once. */
  readonly burst: number;
}

/**
 * A token bucket that may run into debt, so that one number tells three things apart: within the rate (0 or more), over
 * it (below 0), and flooding (a whole burst below 0). Debt is paid back at the same rate; it never exceeds one burst.
 */
export class TokenBucket {
  #level: number;
  #at: Instant;

  /** Starts full. */
  constructor(rate: Rate, now: Instant) {
    this.#level = rate.burst;
    this.#at = now;
  }

  /** Spends `cost` tokens and returns what is left; negative means that the rate is exceeded. */
  spend(cost: number, rate: Rate, now: Instant): number {
    const level = this.level(rate, now);
    this.#at = now;
    this.#level = Math.max(-rate.burst, level - cost);
    return this.#level;
  }

  /** The tokens that are there at `now`. */
  level(rate: Rate, now: Instant): number {
    return Math.min(rate.burst, this.#level + ((now - this.#at) * rate.perSecond) / 1_000);
  }
}
