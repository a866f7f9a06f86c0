import type { Instant } from "../machine.ts";

/** The rules for times that stand in tokens, lists and revocations. */

/** How far two clocks may differ before a time is judged by it, ms. Agents report their skew before it comes to that. */
export const CLOCK_LEEWAY_MS = 60_000;

// A time outside the years 2020 to 2100 is seconds taken for milliseconds, an overflow, or an attack on arithmetic.
const EARLIEST = Date.UTC(2020, 0, 1);
const LATEST = Date.UTC(2100, 0, 1);

/** Whether `at` is a plausible time, ms since the Unix epoch. */
export function isTime(at: number): at is Instant {
  return at >= EARLIEST && at < LATEST;
}

/** A JWT's NumericDate (whole seconds) as an instant; undefined when it is not a plausible time. */
export function fromSeconds(value: unknown): Instant | undefined {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) return undefined;
  const at = value * 1_000;
  return isTime(at) ? at : undefined;
}
