/**
 * Which bucket a hash belongs to in a table that grows one bucket at a time (linear hashing, Litwin 1980): there are 2^base
 * + split buckets, of which the first `split` have been divided in this round.
 */
export class Growth {
  /** The round: all buckets are told apart by this many bits, some by one more. */
  base = 0;
  #split = 0;

  /** How many buckets. */
  get count(): number {
    return (1 << this.base) + this.#split;
  }

  /** The bucket of a hash. */
  of(hash: number): number {
    const bucket = hash & ((2 << this.base) - 1);
    return bucket < this.count ? bucket : bucket - (1 << this.base);
  }

  /** The bucket that is divided next. What has bit `base` of its hash set goes to bucket `count`. */
  get next(): number {
    return this.#split;
  }

  /** The next bucket has been divided. */
  divided(): void {
    this.#split++;
    if (this.#split === 1 << this.base) {
      this.base++;
      this.#split = 0;
    }
  }
}
