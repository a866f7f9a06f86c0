import type { Ids } from "./ids.ts";
import { type ExchangeKey, firstState, nextCell, nextState } from "./mixing.ts";

/**
 * The sketch of a set: a rateless invertible Bloom look-up table (Yang, Gilad and Alizadeh, "Practical Rateless Set
 * Reconciliation", SIGCOMM 2024) whose members are *leaves*.
 *
 * As in the paper, the sketch is an endless sequence of cells, each the sum of the members mapped to it; cell i takes a
 * member with probability 1 / (1 + i/2). The difference of two sides' cells is the sketch of what differs, and about
 * 1.35 to 1.7 cells per differing member are enough to read it off (`decoder.ts`), however large the sets are. Two
 * things are different here:
 *
 * - A member is not an id but the row of one leaf, maintained in `id-set.ts`. A million ids are 131,072 rows or, when
 *   little differs, 32,768: cells are computed within milliseconds under a key that is drawn for the one exchange. Over
 *   ids the same takes a second, or must be maintained for every peer at every write. A leaf in which one id differs
 *   yields that id at once; one with more yields its number and its few ids are listed.
 * - A leaf's number is known to both sides, so a member cancels as a *vector*: a leaf that differs counts once, whatever
 *   is in it, and crafted ids cannot make more unknowns than there are ids.
 *
 * A cell has 28 bytes: the sum of ids S (4 words), the check U = check · (non-linear half of the row), and W1, W2 =
 * leaf · (place · (S, U)): linear in the row too, so that a cell with one leaf in it tells which (W / s = leaf).
 *
 * Rejected, by arithmetic: narrowing by a tree of fan-out 16 takes four round trips, and for 100 differences 100 x 4
 * levels x 16 prints of 4 bytes = 25 KB. A sketch prefix maintained per pair costs each write some ten additions for
 * every peer, and a pass over all ids every hour.
 */

/** Words of a cell in memory: those of the wire, and one for its owner. */
export const CELL_WORDS = 8;

/** Bytes of a cell on the wire. */
export const CELL_BYTES = 28;

/** Which leaves are sketched: those at `level` whose low `bits` bits are `section`. */
export interface Section {
  readonly level: number;
  readonly bits: number;
  readonly section: number;
}

/** The check of the non-linear half of the row at `offset`. */
export function checkOf(key: ExchangeKey, rows: Uint32Array, offset: number): number {
  const { check } = key;
  return (
    (Math.imul(rows[offset + 4] as number, check[0] as number) +
      Math.imul(rows[offset + 5] as number, check[1] as number) +
      Math.imul(rows[offset + 6] as number, check[2] as number) +
      Math.imul(rows[offset + 7] as number, check[3] as number)) >>>
    0
  );
}

/** Multiplier 0 or 1 of the leaf's number: a salted sum over the words of the cell at `offset`. */
export function placeOf(key: ExchangeKey, cells: Uint32Array, offset: number, which: 0 | 1): number {
  const { place } = key;
  const from = which * 5;
  return (
    (Math.imul(cells[offset] as number, place[from] as number) +
      Math.imul(cells[offset + 1] as number, place[from + 1] as number) +
      Math.imul(cells[offset + 2] as number, place[from + 2] as number) +
      Math.imul(cells[offset + 3] as number, place[from + 3] as number) +
      Math.imul(cells[offset + 4] as number, place[from + 4] as number)) >>>
    0
  );
}

/**
 * The cells of one set, at one moment: later writes do not change them. Holds 36 bytes per leaf. Producing cells is
 * divided into slices, so that it never holds up the caller.
 */
export class Sketch {
  readonly key: ExchangeKey;
  readonly section: Section;
  /** How many leaves. */
  readonly leaves: number;
  readonly #rows: Uint32Array;
  /** Each leaf's next cell. */
  readonly #cell: Uint32Array;
  #produced = 0;
  #to = 0;
  #row = 0;
  #cells = new Uint32Array(0);

  constructor(set: Ids, key: ExchangeKey, section: Section) {
    this.key = key;
    this.section = section;
    this.leaves = 1 << (section.level - section.bits);
    this.#rows = new Uint32Array(this.leaves * CELL_WORDS);
    this.#cell = new Uint32Array(this.leaves);
    set.fold(section.level, section.bits, section.section, this.#rows);
    const rows = this.#rows;
    for (let row = 0; row < this.leaves; row++) {
      const at = row * CELL_WORDS;
      const leaf = section.section + (row << section.bits);
      rows[at + 4] = checkOf(key, rows, at);
      rows[at + 5] = Math.imul(placeOf(key, rows, at, 0), leaf);
      rows[at + 6] = Math.imul(placeOf(key, rows, at, 1), leaf);
      rows[at + 7] = firstState(key, leaf);
    }
  }

  /** How many cells have been produced. */
  get produced(): number {
    return this.#produced;
  }

  /** Begins to produce the cells up to, without, `to`. */
  begin(to: number): void {
    this.#to = to;
    this.#row = 0;
    this.#cells = new Uint32Array((to - this.#produced) * CELL_WORDS);
  }

  /** Goes on for about `steps` additions. Returns the cells when they are complete. */
  advance(steps: number): Uint32Array | undefined {
    const rows = this.#rows;
    const cells = this.#cells;
    const next = this.#cell;
    const origin = this.#produced;
    let left = steps;
    let row = this.#row;
    // Words are kept signed: a compiled loop that meets numbers beyond 31 bits is thrown away again and again.
    for (; row < this.leaves && left > 0; row++, left--) {
      let index = (next[row] as number) | 0;
      if (index >= this.#to) continue;
      const at = row * CELL_WORDS;
      let state = (rows[at + 7] as number) | 0;
      const s0 = (rows[at] as number) | 0;
      const s1 = (rows[at + 1] as number) | 0;
      const s2 = (rows[at + 2] as number) | 0;
      const s3 = (rows[at + 3] as number) | 0;
      const u = (rows[at + 4] as number) | 0;
      const w1 = (rows[at + 5] as number) | 0;
      const w2 = (rows[at + 6] as number) | 0;
      do {
        const cell = (index - origin) * CELL_WORDS;
        cells[cell] = ((cells[cell] as number) + s0) | 0;
        cells[cell + 1] = ((cells[cell + 1] as number) + s1) | 0;
        cells[cell + 2] = ((cells[cell + 2] as number) + s2) | 0;
        cells[cell + 3] = ((cells[cell + 3] as number) + s3) | 0;
        cells[cell + 4] = ((cells[cell + 4] as number) + u) | 0;
        cells[cell + 5] = ((cells[cell + 5] as number) + w1) | 0;
        cells[cell + 6] = ((cells[cell + 6] as number) + w2) | 0;
        state = nextState(state);
        index = nextCell(index, state);
        left--;
      } while (index < this.#to);
      rows[at + 7] = state;
      next[row] = index;
    }
    this.#row = row;
    if (row < this.leaves) return undefined;
    this.#produced = this.#to;
    return cells;
  }
}

/** Cells as bytes. */
export function packCells(cells: Uint32Array): Uint8Array {
  const count = cells.length / CELL_WORDS;
  const bytes = new Uint8Array(count * CELL_BYTES);
  const view = new DataView(bytes.buffer);
  for (let cell = 0; cell < count; cell++) {
    for (let word = 0; word < 7; word++) {
      view.setUint32(cell * CELL_BYTES + word * 4, cells[cell * CELL_WORDS + word] as number, true);
    }
  }
  return bytes;
}
