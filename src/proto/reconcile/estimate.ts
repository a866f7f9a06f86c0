import { ROW_WORDS } from "./id-set.ts";
import type { Ids } from "./ids.ts";
import { type ExchangeKey, mix32 } from "./mixing.ts";

/**
 * How many leaves of two sets differ, about: so that the first cells that are sent are nearly always enough, and seldom
 * many more.
 *
 * After the strata estimator of Eppstein et al. ("What's the Difference?", SIGCOMM 2011), with prints for sketches: the
 * leaves are dealt into strata, each half as likely as the one before, and within one into 64 cells, by a hash under
 * the exchange's key. Of each cell's sum two bits are sent. A cell whose bits differ holds a leaf that does; among 64
 * cells linear counting (Whang et al., 1990) tells how many, and the sparse strata stand for the full ones. One
 * standard deviation is about an eighth.
 */

/** Strata; the last takes all that is rarer. 2^11 x 64 leaves fill it to the brim. */
const STRATA = 12;

/** Cells in one stratum. */
const CELLS = 64;

/** Bytes of a set's prints: two bits per cell. */
export const PRINT_BYTES = (STRATA * CELLS) / 4;

/** Differing cells up to which a stratum is counted: some 80 leaves in 64 cells. Fuller, its count is mostly noise. */
const COUNTABLE = 34;

/** The prints of one set's leaves at `level`, computed in slices. What is written in between may or may not count. */
export class Strata {
  readonly #set: Ids;
  readonly #key: ExchangeKey;
  readonly #level: number;
  readonly #sums = new Uint32Array(STRATA * CELLS);
  #leaf = 0;

  constructor(set: Ids, key: ExchangeKey, level: number) {
    this.#set = set;
    this.#key = key;
    this.#level = level;
  }

  /** Goes on for about `steps` additions. Returns the prints when they are complete. */
  advance(steps: number): Uint8Array | undefined {
    const { sums: rows, leaves } = this.#set;
    const sums = this.#sums;
    const mask = (1 << this.#level) - 1;
    const seed = (this.#key.seed[2] as number) | 0;
    const [p0, p1, p2] = this.#key.print;
    // A leaf is charged as four additions.
    const end = Math.min(leaves, this.#leaf + (steps >>> 2));
    for (let leaf = this.#leaf; leaf < end; leaf++) {
      const hash = mix32((leaf & mask) ^ seed);
      const cell = Math.min(Math.clz32(hash), STRATA - 1) * CELLS + (hash & (CELLS - 1));
      const at = leaf * ROW_WORDS;
      sums[cell] =
        ((sums[cell] as number) +
          Math.imul(rows[at + 3] as number, p0) +
          Math.imul(rows[at + 4] as number, p1) +
          Math.imul(rows[at + 5] as number, p2)) |
        0;
    }
    this.#leaf = end;
    return end === leaves ? this.#prints() : undefined;
  }

  #prints(): Uint8Array {
    const prints = new Uint8Array(PRINT_BYTES);
    this.#sums.forEach((sum, cell) => {
      prints[cell >>> 2] = (prints[cell >>> 2] as number) | ((mix32(sum) & 3) << ((cell & 3) * 2));
    });
    return prints;
  }
}

/** About how many leaves differ, by both sides' prints: 1 at least. */
export function estimate(mine: Uint8Array, theirs: Uint8Array): number {
  let counted = countedBy(differingCells(mine, theirs, STRATA - 1));
  for (let stratum = STRATA - 2; stratum >= 0; stratum--) {
    const differing = differingCells(mine, theirs, stratum);
    // The strata after this one hold one leaf in 2^(stratum + 1).
    if (differing > COUNTABLE) return Math.ceil(counted * (2 << stratum));
    counted += countedBy(differing);
  }
  return Math.max(1, Math.ceil(counted));
}

function differingCells(mine: Uint8Array, theirs: Uint8Array, stratum: number): number {
  let differing = 0;
  for (let cell = stratum * CELLS; cell < (stratum + 1) * CELLS; cell++) {
    const shift = (cell & 3) * 2;
    const differs = (((mine[cell >>> 2] as number) ^ (theirs[cell >>> 2] as number)) >>> shift) & 3;
    if (differs !== 0) differing++;
  }
  return differing;
}

/** Leaves that make `differing` of a stratum's cells differ: one in four does so unseen. */
function countedBy(differing: number): number {
  const share = Math.min(differing / (CELLS * 0.75), 0.95);
  // -ln(1 - share), as a series: engines differ in the last digits of their logarithms.
  let sum = 0;
  let power = share;
  for (let term = 1; term <= 64; term++) {
    sum += power / term;
    power *= share;
  }
  return CELLS * sum;
}
