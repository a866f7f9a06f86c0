import { assert } from "../assert.ts";
import type { Instant } from "../machine.ts";
import { MAX_AHEAD_MS } from "./limits.ts";

/**
 * The hybrid logical clock of Kulkarni, Demirbas, Madappa, Avva and Leone (2014): as close to physical time as the
 * members' clocks are, and never behind anything that this member has seen.
 *
 * A reading is one safe integer, Unix milliseconds times 2048 plus a counter, so that comparing two is comparing two
 * numbers. When the counter runs over it carries into the milliseconds: more than 2048 writes in a millisecond put
 * the clock slightly ahead, never out of order. The integer is safe until the year 2109.
 *
 * What it trusts: only readings whose author's signature has been checked may be observed, and none that lies more
 * than 60 s ahead of our own time. A member that writes 60 s ahead therefore drags the others' clocks at most that
 * far; members whose time is slow then defer some writes until their time catches up. Nothing is lost: deferred
 * writes come again by anti-entropy.
 */

/** A reading: Unix ms times 2048, plus a counter. Order is numeric order. */
export type Clock = number;

/** Readings in one millisecond. */
export const CLOCKS_PER_MS = 2_048;

/** The first reading of the millisecond that contains `instant`. */
export function clockAt(instant: Instant): Clock {
  return Math.floor(instant) * CLOCKS_PER_MS;
}

/** The millisecond of a reading. */
export function instantOf(clock: Clock): Instant {
  return Math.floor(clock / CLOCKS_PER_MS);
}

/** One member's clock. */
export class HybridClock {
  #last: Clock = 0;

  /** The latest reading given or observed; 0 before the first. */
  get last(): Clock {
    return this.#last;
  }

  /** No reading up to `clock` is given again: one of an earlier run. */
  restore(clock: Clock): void {
    this.#last = Math.max(this.#last, clock);
  }

  /** A reading after every earlier one and every observed one, also when `now` has gone back. */
  tick(now: Instant): Clock {
    this.#last = Math.max(this.#last + 1, clockAt(now));
    assert(Number.isSafeInteger(this.#last), "clocks are safe integers until the year 2109");
    return this.#last;
  }

  /**
   * Takes note of an authentic remote reading. False, and nothing changed, when it is more than 60 s ahead of `now`.
   */
  observe(clock: Clock, now: Instant): boolean {
    if (aheadMs(clock, now) > MAX_AHEAD_MS) return false;
    if (clock > this.#last) this.#last = clock;
    return true;
  }
}

/** How far a reading is ahead of `now`, ms; negative when it is behind. */
export function aheadMs(clock: Clock, now: Instant): number {
  return instantOf(clock) - now;
}
