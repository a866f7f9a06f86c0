import { setTimeout as pause } from "node:timers/promises";
import { inspect } from "node:util";

/** Time between two looks, ms. */
const POLL_MS = 20;

/**
 * Looks until `probe` finds something truthy, and returns it. A probe that throws has not found it yet. When `withinMs` have
 * passed it fails, saying what was awaited and what the last look found.
 */
export async function until<Found>(
  awaited: string,
  probe: () => Found | Promise<Found>,
  withinMs = 15_000,
): Promise<NonNullable<Found>> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    let last: unknown;
    try {
      const found = await probe();
      if (found) return found;
      last = found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${awaited}; last: ${inspect(last)}`);
    await pause(POLL_MS);
  }
}
