import type { Instant } from "../../src/proto/machine.ts";
import { EPOCH_MS } from "./epoch.ts";

/** A node's own clock: it was set wrong, and runs a little fast or slow. Freezes are the world's business. */
export class Clock {
  readonly #skewMs: number;
  readonly #rate: number;

  /**
   * @param skewMs how far ahead of the world's clock it is when the world begins; negative: behind.
   * @param driftPpm how much faster it runs, millionths: a quartz is within 100, one that is being slewed within 500.
   */
  constructor(skewMs: number, driftPpm: number) {
    this.#skewMs = skewMs;
    this.#rate = driftPpm / 1_000_000;
  }

  /** What it shows at an instant of the world. */
  at(now: number): Instant {
    return now + this.#skewMs + (now - EPOCH_MS) * this.#rate;
  }

  /** When in the world it will show `instant`, or a hair more: whoever is woken then finds that it is time. */
  when(instant: Instant): number {
    let now = EPOCH_MS + (instant - this.#skewMs - EPOCH_MS) / (1 + this.#rate);
    while (this.at(now) < instant) now += HAIR_MS;
    return now;
  }
}

/** More than the last place of a number of this size. */
const HAIR_MS = 1 / 1_024;
