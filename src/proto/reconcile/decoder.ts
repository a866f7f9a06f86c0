import { IdList } from "./id-list.ts";
import { MAX_CELLS } from "./limits.ts";
import { addRow, type ExchangeKey, firstState, nextCell, nextState } from "./mixing.ts";
import { CELL_BYTES, CELL_WORDS, checkOf, placeOf, type Section } from "./sketch.ts";

/**
 * Reads what differs off the difference of two sides' cells, by peeling: a cell in which one leaf is left tells that
 * leaf, which is then taken out of all its other cells, and so on. Cells may be added at any time; the leaves already
 * known are taken out of those too. All is known when cell 0, which every leaf takes part in, is empty.
 *
 * The cells come from the peer, which may lie. A leaf is believed only if 47 bits beyond its number agree and it is
 * mapped to this cell; a leaf that turns up twice, or more leaves than cells, make the sketch inconsistent. So peeling
 * ends after at most as many leaves as there are cells, whatever was sent.
 */

/** What became of a slice of peeling. `stalled`: more cells are needed. */
export type Peeling = "going-on" | "complete" | "stalled" | "inconsistent";

/** What differs, as far as it has been peeled. */
export interface Findings {
  /** Ids that only the sender of the cells has. */
  readonly theirs: IdList;
  /** Ids that only we have. */
  readonly mine: IdList;
  /** Leaves in which more than one id differs. */
  readonly mixed: number[];
}

/** Steps that a test of one cell is charged as. */
const TEST_STEPS = 4;

/** A peeler of one section's cells. */
export class Decoder {
  readonly findings: Findings = { theirs: new IdList(), mine: new IdList(), mixed: [] };
  readonly #key: ExchangeKey;
  readonly #section: Section;
  #cells = new Uint32Array(64 * CELL_WORDS);
  #count = 0;
  /** Cells to look at, each once: a cell's last word says that it is here. */
  readonly #queue: number[] = [];
  /** The leaves found, each with its row in the shape of a cell, and the next cell that it takes part in. */
  #known = new Uint32Array(32 * CELL_WORDS);
  #knownNext = new Uint32Array(32);
  #knownCount = 0;
  readonly #leaves = new Set<number>();
  readonly #scratch = new Uint32Array(CELL_WORDS);

  constructor(key: ExchangeKey, section: Section) {
    this.#key = key;
    this.#section = section;
  }

  /** How many cells there are. */
  get count(): number {
    return this.#count;
  }

  /** Appends the cells that the peer has sent, less ours: those of `mine` from `from` cells on. */
  append(theirs: Uint8Array, mine: Uint32Array): void {
    const view = new DataView(theirs.buffer, theirs.byteOffset, theirs.byteLength);
    const count = mine.length / CELL_WORDS;
    this.#reserve(this.#count + count);
    const cells = this.#cells;
    for (let cell = 0; cell < count; cell++) {
      const from = cell * CELL_WORDS;
      const to = (this.#count + cell) * CELL_WORDS;
      for (let word = 0; word < 7; word++) {
        cells[to + word] = view.getUint32(cell * CELL_BYTES + word * 4, true) - (mine[from + word] as number);
      }
      this.#look(this.#count + cell);
    }
    this.#count += count;
    for (let known = 0; known < this.#knownCount; known++) this.#takeOut(known);
  }

  #reserve(count: number): void {
    if (count * CELL_WORDS <= this.#cells.length) return;
    const larger = new Uint32Array(Math.min(Math.max(count, this.#count * 2), MAX_CELLS) * CELL_WORDS);
    larger.set(this.#cells);
    this.#cells = larger;
  }

  /** Peels for about `steps` additions. */
  peel(steps: number): Peeling {
    let left = steps;
    while (left > 0) {
      const cell = this.#queue.pop();
      if (cell === undefined) return this.#isEmpty(0) ? "complete" : "stalled";
      this.#cells[cell * CELL_WORDS + 7] = 0;
      left -= TEST_STEPS;
      if (this.#isEmpty(cell)) continue;
      const leaf = this.#leafIn(cell);
      if (leaf === undefined || !this.#isMapped(leaf, cell)) continue;
      if (this.#leaves.has(leaf) || this.#leaves.size === this.#count) return "inconsistent";
      left -= this.#learn(leaf, cell);
    }
    return "going-on";
  }

  #look(cell: number): void {
    const mark = cell * CELL_WORDS + 7;
    if (this.#cells[mark] !== 0) return;
    this.#cells[mark] = 1;
    this.#queue.push(cell);
  }

  #isEmpty(cell: number): boolean {
    const cells = this.#cells;
    const at = cell * CELL_WORDS;
    for (let word = 0; word < 7; word++) if (cells[at + word] !== 0) return false;
    return true;
  }

  /** The only leaf in a cell, if there is only one: W / s for either pair of W and s. */
  #leafIn(cell: number): number | undefined {
    const cells = this.#cells;
    const at = cell * CELL_WORDS;
    const s1 = placeOf(this.#key, cells, at, 0);
    const s2 = placeOf(this.#key, cells, at, 1);
    const w1 = cells[at + 5] as number;
    const w2 = cells[at + 6] as number;
    const first = zerosAfter(s1) <= zerosAfter(s2);
    const leaf = quotient(first ? w1 : w2, first ? s1 : s2);
    const { level, bits, section } = this.#section;
    if (leaf >>> level !== 0 || (leaf & ((1 << bits) - 1)) !== section) return undefined;
    if (Math.imul(s1, leaf) >>> 0 !== w1 || Math.imul(s2, leaf) >>> 0 !== w2) return undefined;
    return leaf;
  }

  #isMapped(leaf: number, cell: number): boolean {
    let index = 0;
    let state = firstState(this.#key, leaf);
    while (index < cell) {
      state = nextState(state);
      index = nextCell(index, state);
    }
    return index === cell;
  }

  /** Takes a leaf out of all cells. Returns the steps that it took. */
  #learn(leaf: number, cell: number): number {
    const known = this.#knownCount++;
    if (known === this.#knownNext.length) {
      const rows = new Uint32Array(this.#known.length * 2);
      rows.set(this.#known);
      this.#known = rows;
      const next = new Uint32Array(this.#knownNext.length * 2);
      next.set(this.#knownNext);
      this.#knownNext = next;
    }
    const at = known * CELL_WORDS;
    for (let word = 0; word < 7; word++) this.#known[at + word] = this.#cells[cell * CELL_WORDS + word] as number;
    this.#known[at + 7] = firstState(this.#key, leaf);
    this.#leaves.add(leaf);
    this.#classify(leaf, at);
    return this.#takeOut(known);
  }

  #takeOut(known: number): number {
    const rows = this.#known;
    const cells = this.#cells;
    const at = known * CELL_WORDS;
    let index = (this.#knownNext[known] as number) | 0;
    let state = (rows[at + 7] as number) | 0;
    let steps = 0;
    while (index < this.#count) {
      const to = index * CELL_WORDS;
      for (let word = 0; word < 7; word++)
        cells[to + word] = ((cells[to + word] as number) - (rows[at + word] as number)) | 0;
      this.#look(index);
      state = nextState(state);
      index = nextCell(index, state);
      steps++;
    }
    rows[at + 7] = state;
    this.#knownNext[known] = index;
    return steps;
  }

  /** One id on one side, if the check says so; else the leaf is mixed. */
  #classify(leaf: number, at: number): void {
    const [a, b, c, d] = [0, 1, 2, 3].map((word) => this.#known[at + word] as number) as [
      number,
      number,
      number,
      number,
    ];
    const check = this.#known[at + 4] as number;
    if (this.#isId(leaf, a, b, c, d, check)) this.findings.theirs.push(a, b, c, d);
    else if (this.#isId(leaf, -a >>> 0, -b >>> 0, -c >>> 0, -d >>> 0, -check >>> 0)) {
      this.findings.mine.push(-a >>> 0, -b >>> 0, -c >>> 0, -d >>> 0);
    } else this.findings.mixed.push(leaf);
  }

  #isId(leaf: number, a: number, b: number, c: number, d: number, check: number): boolean {
    if ((d & ((1 << this.#section.level) - 1)) !== leaf) return false;
    this.#scratch.fill(0);
    addRow(this.#scratch, 0, 1, a, b, c, d);
    return checkOf(this.#key, this.#scratch, 0) === check;
  }
}

function zerosAfter(word: number): number {
  return word === 0 ? 32 : 31 - Math.clz32(word & -word);
}

/** The smallest number whose product with `divisor` is `product` modulo 2^32, if there is one. */
function quotient(product: number, divisor: number): number {
  const zeros = zerosAfter(divisor);
  if (zeros === 32) return 0xffffffff;
  const odd = divisor >>> zeros;
  // Newton's iteration doubles the number of right bits: 3, 6, 12, 24, 48.
  let inverse = odd;
  for (let round = 0; round < 4; round++) inverse = Math.imul(inverse, 2 - Math.imul(odd, inverse));
  return (Math.imul(product >>> zeros, inverse) & (0xffffffff >>> zeros)) >>> 0;
}
