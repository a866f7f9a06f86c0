import { FREEZE_MS, LATE_MS, WORST_HEALTH } from "./limits.ts";

/**
 * How well this member itself is, as in Lifeguard (Dadgar, Phillips and Currey, 2018, "local health multiplier").
 *
 * Most false accusations come from an accuser that is itself slow: starved of CPU, swapping, behind a full link. It can
 * tell by what should reach it and does not: reports that helpers owe it, accusations of itself that it must refute, its
 * own time-outs that fire far too late. Each makes it more patient with others; each prompt answer less. A target's
 * silence alone says nothing about us and does not count.
 *
 * Switched off, it holds this member for well whatever happens: the build that Lifeguard's experiment compares with.
 */
export class LocalHealth {
  readonly #watched: boolean;
  #score = 0;

  /** @param watched false: switched off. Default true. */
  constructor(watched = true) {
    this.#watched = watched;
  }

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
    if (this.#watched) this.#score = Math.min(WORST_HEALTH, this.#score + by);
  }

  /** An answer came in time. */
  better(): void {
    if (this.#score > 0) this.#score--;
  }

  /** What a call that comes this long after our own deadline says of us. */
  paceOf(lateMs: number): "prompt" | "late" | "frozen" {
    if (!this.#watched || lateMs <= LATE_MS) return "prompt";
    return lateMs > FREEZE_MS ? "frozen" : "late";
  }
}
