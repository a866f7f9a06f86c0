import { WORST_HEALTH } from "./limits.ts";

/**
 * How well this member itself is, as in Lifeguard (Dadgar, Phillips and Currey, 2018, "local health multiplier").
 *
 * Most false accusations come from an accuser that is itself slow: starved of CPU, swapping, behind a full link. It can
 * tell by what should reach it and does not: reports that helpers owe it, accusations of itself that it must refute, its
 * own time-outs that fire far too late. Each makes it more patient with others; each prompt answer less. A target's
 * silence alone says nothing about us and does not count.
 */
export class LocalHealth {
  #score = 0;

  /** 0 (well) to 8. */
  get score(): number {
    return this.#score;
  }

  /** By how much time-outs are stretched: 1 to 9. */
  get stretch(): number {
    return this.#score + 1;
  }

  /** Something that points at ourselves went wrong. */
  worse(by = 1): void {
    this.#score = Math.min(WORST_HEALTH, this.#score + by);
  }

  /** An answer came in time. */
  better(): void {
    if (this.#score > 0) this.#score--;
  }
}
