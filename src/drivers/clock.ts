import type { Instant } from "../proto/machine.ts";

/** Where a clock gets its readings; tests replace them. Both in ms. */
export interface ClockSources {
  /** The time of day, which may be set forwards or back at any time. Default `Date.now`. */
  readonly wall: () => number;
  /** Steady, of any origin, may stand still while the machine sleeps. Default `performance.now`. */
  readonly steady: () => number;
}

/** A wall clock this far ahead of ours means that the machine slept, or that its time was set: follow it at once, ms. */
const JUMP_MS = 1_000;
/** Readings of the wall clock are cut to whole ms: a smaller difference is none. */
const TOLERANCE_MS = 2;
/** A clock that is off by less than {@link JUMP_MS}, or ahead, is corrected by this part of the time that passes. */
const SLEW = 1 / 16;

/**
 * The agent's clock: Unix ms with fractions of a ms, which never go back.
 *
 * It advances by the steady clock, so intervals are right even while somebody sets the time. When the wall clock runs
 * ahead by a second or more the clock jumps to it. When it falls behind (the time was set back) the clock cannot follow at
 * once and runs a sixteenth slower until they agree: time-outs grow by 6 %, which harms nobody.
 */
export function systemClock(sources: Partial<ClockSources> = {}): () => Instant {
  const wall = sources.wall ?? (() => Date.now());
  const steady = sources.steady ?? (() => performance.now());
  let lastSteady = steady();
  let now = wall();
  return () => {
    const reading = steady();
    const elapsed = Math.max(0, reading - lastSteady);
    lastSteady = reading;
    now += elapsed;
    const ahead = wall() - now;
    if (ahead >= JUMP_MS) now += ahead;
    else if (ahead > TOLERANCE_MS) now += Math.min(elapsed * SLEW, ahead);
    else if (ahead < -TOLERANCE_MS) now -= Math.min(elapsed * SLEW, -ahead);
    return now;
  };
}

/** A clock that is read once in each turn of the loop: for packets, where a reading costs as much as all the rest. */
export function turnClock(clock: () => Instant): () => Instant {
  let reading: Instant | undefined;
  const forget = (): void => {
    reading = undefined;
  };
  return () => {
    if (reading === undefined) {
      reading = clock();
      setImmediate(forget);
    }
    return reading;
  };
}
