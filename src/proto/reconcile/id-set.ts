import { assert } from "../assert.ts";
import type { Random } from "../random.ts";
import { Growth } from "./growth.ts";
import type { IdList } from "./id-list.ts";
import type { Ids } from "./ids.ts";
import { LEAF_LOAD, MAX_LEVEL } from "./limits.ts";
import { addRow, ID_WORDS, mix32 } from "./mixing.ts";

/**
 * A maintained set of ids, in leaves whose sums are what two replicas compare.
 *
 * An id is 128 bits. The first word is a hash of the key, the last one, uniformly distributed, a hash of the version
 * (bucket, key, clock, author and value): its low bits are the id's leaf, so the old and the new version of a key are in
 * different leaves. A leaf keeps the sum of its ids' rows: the four words of the id and four that are no linear function
 * of them, each modulo 2^32. Adding or removing an id touches one leaf and the total. Rows are additive, so a coarser
 * division is had by adding rows up.
 *
 * The leaves grow one at a time as the set does: no write ever pays for a doubling, but for the copy of the sums, 4
 * MiB at the most. They do not shrink: memory is that of the largest size so far.
 *
 * What the sums resist: nothing in them is secret, because an hourly re-summing under a secret would cost each pair of
 * members a pass over all ids. Of two different sets with the same sum of rows, 256 bits, an author finds one by some
 * 2^32 steps and tens of thousands of entries (Wagner's generalised birthday), all of which must lack on one side. It
 * gains that replicas disagree about that author's own entries until one of them is written again; nobody else's ids
 * can be cancelled without the author's signature on them. Ids crafted to share a leaf make a heavy leaf, which costs
 * what it holds and no more. Which cells of a sketch leaves share is secret until the exchange (see `mixing.ts`).
 */

/** Words of a row. */
export const ROW_WORDS = 8;

/** No id. */
const NONE = -1;

/** Ids in one block of memory, as a power of two: growing never copies ids, and a small set takes 7 KiB. */
const BLOCK_BITS = 8;
const BLOCK = 1 << BLOCK_BITS;

/** Links of an id, each to another or {@link NONE}: the next and the one before in its leaf, the next in its bucket. */
const LINKS = 3;
const Link = { next: 0, before: 1, bucket: 2 } as const;
type Link = (typeof Link)[keyof typeof Link];

/** Ids per bucket of the index. */
const INDEX_LOAD = 2;

/** A set of ids. */
export class IdSet implements Ids {
  readonly #growth = new Growth();
  #sums = new Uint32Array(ROW_WORDS * 16);
  #heads = new Int32Array(16).fill(NONE);
  /**
   * By the first word, so that the versions of a key are found together, hashed by what only we know: ids crafted to
   * share a leaf are found as fast as others. To craft keys that share a first word takes 2^32 steps for each.
   */
  readonly #indexGrowth = new Growth();
  #index = new Int32Array(16).fill(NONE);
  readonly #secret: readonly [number, number];
  readonly #ids: Uint32Array[] = [];
  readonly #links: Int32Array[] = [];
  #free = NONE;
  #used = 0;
  #size = 0;
  /** The sum of all rows. Not to be changed. */
  readonly total = new Uint32Array(ROW_WORDS);

  constructor(random: Random) {
    this.#secret = [random.u32(), random.u32()];
  }

  /** How many ids. */
  get size(): number {
    return this.#size;
  }

  /** How many leaves. */
  get leaves(): number {
    return this.#growth.count;
  }

  /** The sums of the leaves, a row each, of which only {@link leaves} count. Not to be changed, nor kept. */
  get sums(): Uint32Array {
    return this.#sums;
  }

  #word(slot: number, word: number): number {
    return (this.#ids[slot >>> BLOCK_BITS] as Uint32Array)[(slot & (BLOCK - 1)) * ID_WORDS + word] as number;
  }

  #link(slot: number, link: Link): number {
    return (this.#links[slot >>> BLOCK_BITS] as Int32Array)[(slot & (BLOCK - 1)) * LINKS + link] as number;
  }

  #setLink(slot: number, link: Link, to: number): void {
    (this.#links[slot >>> BLOCK_BITS] as Int32Array)[(slot & (BLOCK - 1)) * LINKS + link] = to;
  }

  #bucketOf(first: number): number {
    return mix32(mix32(first ^ this.#secret[0]) + this.#secret[1]);
  }

  /** Where an id is: a number below the largest size so far, the id's as long as it is in the set; or -1. */
  find(a: number, b: number, c: number, d: number): number {
    const bucket = this.#indexGrowth.of(this.#bucketOf(a));
    for (let slot = this.#index[bucket] as number; slot !== NONE; slot = this.#link(slot, Link.bucket)) {
      if (this.#is(slot, a, b, c, d)) return slot;
    }
    return NONE;
  }

  /** Whether there is an id with that first word for which `isSought` holds; it is told the other words. */
  some(first: number, isSought: (b: number, c: number, d: number) => boolean): boolean {
    const bucket = this.#indexGrowth.of(this.#bucketOf(first));
    for (let slot = this.#index[bucket] as number; slot !== NONE; slot = this.#link(slot, Link.bucket)) {
      if (this.#word(slot, 0) !== first) continue;
      if (isSought(this.#word(slot, 1), this.#word(slot, 2), this.#word(slot, 3))) return true;
    }
    return false;
  }

  #is(slot: number, a: number, b: number, c: number, d: number): boolean {
    const block = this.#ids[slot >>> BLOCK_BITS] as Uint32Array;
    const at = (slot & (BLOCK - 1)) * ID_WORDS;
    return block[at + 3] === d && block[at] === a && block[at + 1] === b && block[at + 2] === c;
  }

  /** Adds an id of four unsigned words and returns where it is; -1, without effect, if it is in the set. */
  add(a: number, b: number, c: number, d: number): number {
    if (this.find(a, b, c, d) !== NONE) return NONE;
    const slot = this.#allot();
    const block = this.#ids[slot >>> BLOCK_BITS] as Uint32Array;
    const at = (slot & (BLOCK - 1)) * ID_WORDS;
    block[at] = a;
    block[at + 1] = b;
    block[at + 2] = c;
    block[at + 3] = d;
    const bucket = this.#indexGrowth.of(this.#bucketOf(a));
    this.#setLink(slot, Link.bucket, this.#index[bucket] as number);
    this.#index[bucket] = slot;
    const leaf = this.#growth.of(d);
    this.#enter(slot, leaf);
    addRow(this.#sums, leaf * ROW_WORDS, 1, a, b, c, d);
    addRow(this.total, 0, 1, a, b, c, d);
    this.#size++;
    if (this.#size > this.#indexGrowth.count * INDEX_LOAD) this.#growIndex();
    if (this.#growth.base < MAX_LEVEL && this.#size > this.leaves * LEAF_LOAD) this.#grow();
    return slot;
  }

  #allot(): number {
    if (this.#free !== NONE) {
      const slot = this.#free;
      this.#free = this.#link(slot, Link.next);
      return slot;
    }
    if (this.#used === this.#ids.length * BLOCK) {
      this.#ids.push(new Uint32Array(BLOCK * ID_WORDS));
      this.#links.push(new Int32Array(BLOCK * LINKS));
    }
    return this.#used++;
  }

  #enter(slot: number, leaf: number): void {
    const next = this.#heads[leaf] as number;
    this.#setLink(slot, Link.next, next);
    this.#setLink(slot, Link.before, NONE);
    if (next !== NONE) this.#setLink(next, Link.before, slot);
    this.#heads[leaf] = slot;
  }

  /** Removes an id and returns where it was; -1 if it is not in the set. */
  remove(a: number, b: number, c: number, d: number): number {
    const bucket = this.#indexGrowth.of(this.#bucketOf(a));
    let slot = this.#index[bucket] as number;
    let last = NONE;
    while (slot !== NONE && !this.#is(slot, a, b, c, d)) {
      last = slot;
      slot = this.#link(slot, Link.bucket);
    }
    if (slot === NONE) return NONE;
    if (last === NONE) this.#index[bucket] = this.#link(slot, Link.bucket);
    else this.#setLink(last, Link.bucket, this.#link(slot, Link.bucket));
    const leaf = this.#growth.of(d);
    const next = this.#link(slot, Link.next);
    const before = this.#link(slot, Link.before);
    if (before === NONE) this.#heads[leaf] = next;
    else this.#setLink(before, Link.next, next);
    if (next !== NONE) this.#setLink(next, Link.before, before);
    this.#setLink(slot, Link.next, this.#free);
    this.#free = slot;
    addRow(this.#sums, leaf * ROW_WORDS, -1, a, b, c, d);
    addRow(this.total, 0, -1, a, b, c, d);
    this.#size--;
    return slot;
  }

  #growIndex(): void {
    const growth = this.#indexGrowth;
    if (growth.count === this.#index.length) this.#index = doubled(this.#index);
    let slot = this.#index[growth.next] as number;
    this.#index[growth.next] = NONE;
    while (slot !== NONE) {
      const next = this.#link(slot, Link.bucket);
      const hash = this.#bucketOf(this.#word(slot, 0));
      const bucket = (hash >>> growth.base) & 1 ? growth.count : growth.next;
      this.#setLink(slot, Link.bucket, this.#index[bucket] as number);
      this.#index[bucket] = slot;
      slot = next;
    }
    growth.divided();
  }

  /** Divides the next leaf. */
  #grow(): void {
    const growth = this.#growth;
    const from = growth.next;
    const to = growth.count;
    if (to === this.#heads.length) {
      this.#heads = doubled(this.#heads);
      const sums = new Uint32Array(this.#sums.length * 2);
      sums.set(this.#sums);
      this.#sums = sums;
    }
    let slot = this.#heads[from] as number;
    this.#heads[from] = NONE;
    while (slot !== NONE) {
      const next = this.#link(slot, Link.next);
      const d = this.#word(slot, 3);
      const moves = ((d >>> growth.base) & 1) === 1;
      if (moves) {
        addRow(this.#sums, to * ROW_WORDS, 1, this.#word(slot, 0), this.#word(slot, 1), this.#word(slot, 2), d);
      }
      this.#enter(slot, moves ? to : from);
      slot = next;
    }
    for (let word = 0; word < ROW_WORDS; word++) {
      const kept = from * ROW_WORDS + word;
      this.#sums[kept] = ((this.#sums[kept] as number) - (this.#sums[to * ROW_WORDS + word] as number)) | 0;
    }
    growth.divided();
  }

  /**
   * Adds the sums of the leaves at `level` whose low `bits` bits are `section` to `rows`: leaf `section + k * 2^bits`
   * to row k. `level`: at most {@link levelFor} any size that the set has had, so that its leaves are as fine.
   */
  fold(level: number, bits: number, section: number, rows: Uint32Array): void {
    assert(level <= this.#growth.base, "the leaves are as fine as the level");
    foldSums(this.#sums, this.leaves, level, bits, section, rows);
  }

  /** Calls `visit` with each id, in any order. */
  each(visit: (a: number, b: number, c: number, d: number) => void): void {
    const { leaves } = this;
    for (let leaf = 0; leaf < leaves; leaf++) {
      for (let slot = this.#heads[leaf] as number; slot !== NONE; slot = this.#link(slot, Link.next)) {
        visit(this.#word(slot, 0), this.#word(slot, 1), this.#word(slot, 2), this.#word(slot, 3));
      }
    }
  }

  /** Appends the ids in `leaf` at `level` (0 to 30) to `list`; stops when it holds more than `most` ids. */
  collect(level: number, leaf: number, list: IdList, most: number): void {
    const { leaves } = this;
    const mask = (1 << level) - 1;
    const isCoarser = level <= this.#growth.base;
    const step = isCoarser ? 1 << level : leaves;
    for (let own = isCoarser ? leaf : this.#growth.of(leaf); own < leaves; own += step) {
      for (let slot = this.#heads[own] as number; slot !== NONE; slot = this.#link(slot, Link.next)) {
        const block = this.#ids[slot >>> BLOCK_BITS] as Uint32Array;
        const at = (slot & (BLOCK - 1)) * ID_WORDS;
        const d = block[at + 3] as number;
        if ((d & mask) !== leaf) continue;
        list.push(block[at] as number, block[at + 1] as number, block[at + 2] as number, d);
        if (list.length > most) return;
      }
    }
  }
}

/** As {@link IdSet.fold}, of the sums of `leaves` leaves. */
export function foldSums(
  sums: Uint32Array,
  leaves: number,
  level: number,
  bits: number,
  section: number,
  rows: Uint32Array,
): void {
  const mask = (1 << level) - 1;
  for (let leaf = section; leaf < leaves; leaf += 1 << bits) {
    const to = ((leaf & mask) >>> bits) * ROW_WORDS;
    const from = leaf * ROW_WORDS;
    for (let word = 0; word < ROW_WORDS; word++) {
      rows[to + word] = ((rows[to + word] as number) + (sums[from + word] as number)) | 0;
    }
  }
}

/** The level at which `size` ids are compared: at most {@link LEAF_LOAD} ids in a leaf on average, or twice as many. */
export function levelFor(size: number): number {
  let level = 0;
  while (level < MAX_LEVEL && size > LEAF_LOAD << (level + 1)) level++;
  return level;
}

function doubled(heads: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(heads.length * 2).fill(NONE);
  larger.set(heads);
  return larger;
}
