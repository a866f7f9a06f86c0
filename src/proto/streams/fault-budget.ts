import type { Instant } from "../machine.ts";
import { FAULT_FORGIVEN_MS, MAX_FAULTS } from "./limits.ts";

/** Counts a peer's faults and forgives them with time. */
export class FaultBudget {
  #faults = 0;
  #at: Instant = 0;

  /** Takes one more fault; false when it is one too many. */
  bear(now: Instant): boolean {
    this.#faults = Math.max(0, this.#faults - (now - this.#at) / FAULT_FORGIVEN_MS) + 1;
    this.#at = now;
    return this.#faults <= MAX_FAULTS;
  }
}
