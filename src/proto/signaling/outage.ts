import type { Instant } from "../machine.ts";
import type { Random } from "../random.ts";
import { backoffMs } from "./backoff.ts";
import { clientLimits } from "./limits.ts";

/** How long there has been no server, and so when to try again. */
export class Outage {
  readonly #random: Random;
  #since: Instant | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  /**
   * When to try again after a connection or an attempt has ended. `readySince`: the session that was; one that held ends the outage before
   * it. `waitMs`: what is to be waited in any case.
   */
  retryAt(now: Instant, readySince: Instant | undefined, waitMs: number): Instant {
    if (readySince !== undefined && now - readySince >= clientLimits.healthyMs) this.#since = undefined;
    this.#since ??= now;
    return now + waitMs + backoffMs(now - this.#since, this.#random);
  }
}
