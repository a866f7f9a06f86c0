import type { Instant } from "../../src/proto/machine.ts";

/** One line in this time, however many things go wrong: a log is for people. */
const LINE_INTERVAL_MS = 5_000;

/** Decides which of many like events is logged: one in five seconds, with the number of those that were not. */
export class LogThrottle {
  #quietUntil: Instant = 0;
  #suppressed = 0;

  /** How many events went unlogged since the last line, if this one is to be logged; undefined if it is not. */
  admit(now: Instant): number | undefined {
    if (now < this.#quietUntil) {
      this.#suppressed++;
      return undefined;
    }
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    this.#quietUntil = now + LINE_INTERVAL_MS;
    return suppressed;
  }
}
