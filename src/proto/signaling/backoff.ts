import { fraction, type Random } from "../random.ts";

/**
 * Capped exponential back-off with full jitter (M. Brooker, "Exponential Backoff and Jitter", 2015): the wait is uniform
 * between zero and a ceiling that doubles with each failure. Ten thousand agents that lose one server at the same moment
 * come back spread over the whole interval, which no amount of doubling without jitter achieves.
 */
export const backoffLimits = {
  /** The first ceiling: half of it, on average, is 250 ms, which people do not notice. */
  firstMs: 500,
  /** The last ceiling: a server that returns has everybody within half a minute. */
  mostMs: 30_000,
} as const;

/** The wait before the next attempt after `failures` failures in a row (0 for the first), ms. */
export function backoffMs(failures: number, random: Random): number {
  const ceiling = Math.min(backoffLimits.mostMs, backoffLimits.firstMs << Math.min(failures, 16));
  return ceiling * fraction(random);
}
