/**
 * The largest delivery rate of the last {@link RATE_ROUNDS} round trips, bytes/ms.
 *
 * A rate that was limited by what was offered can raise it, never lower it: round trips with no other kind are not
 * counted, so that a path is remembered while it is not used to the full.
 */
export class RateWindow {
  readonly #largest = new Float64Array(RATE_ROUNDS);
  #round = 0;
  #rate = 0;
  #counts = false;
  #measured = false;

  /** The largest; 0 before the first sample. */
  get rate(): number {
    return this.#rate;
  }

  /** Whether the path has been full at least once, so that the rate is the path's. */
  get measured(): boolean {
    return this.#measured;
  }

  /** Takes a sample. */
  add(rate: number, limited: boolean): void {
    if (limited && rate <= this.#rate) return;
    if (!limited) this.#measured = this.#counts = true;
    if (rate > (this.#largest[this.#round] as number)) this.#largest[this.#round] = rate;
    if (rate > this.#rate) this.#rate = rate;
  }

  /** Ends a round trip; false when it does not count. */
  endRound(): boolean {
    if (!this.#counts) return false;
    this.#counts = false;
    this.#round = (this.#round + 1) % RATE_ROUNDS;
    this.#largest[this.#round] = 0;
    this.#rate = 0;
    for (const rate of this.#largest) this.#rate = Math.max(this.#rate, rate);
    return true;
  }

  /** The path has changed: forgets everything in favour of `rate`. */
  restart(rate: number): void {
    this.#largest.fill(0);
    this.#largest[this.#round] = rate;
    this.#rate = rate;
  }
}

/** As in BBR: longer than a dip by loss, shorter than a change of path is tolerable. */
export const RATE_ROUNDS = 10;
