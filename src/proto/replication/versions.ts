import type { Random } from "../random.ts";
import { IdSet } from "../reconcile/id-set.ts";
import type { Ids } from "../reconcile/ids.ts";
import { PartSet } from "../reconcile/part-set.ts";
import type { Entry } from "./entry.ts";
import { SLOTS, slotOf } from "./placement.ts";
import { addDigest, emptySum, type Sum, subtractDigest } from "./sum.ts";
import { placeOf, tickIn, tickOf, type VersionId, wordsIn, wordsOf } from "./version-id.ts";

/** Which slots count: 1 or 0 each. */
export type Slots = Uint8Array;

/** Bytes of slots on the wire: a bit each, the lowest of a byte first. */
export const SLOTS_BYTES = SLOTS / 8;

/** Slots as {@link SLOTS_BYTES}. */
export function packSlots(slots: Slots): Uint8Array {
  const packed = new Uint8Array(SLOTS_BYTES);
  slots.forEach((isIn, slot) => {
    packed[slot >> 3] = (packed[slot >> 3] as number) | (isIn << (slot & 7));
  });
  return packed;
}

/** The slots in bytes made by {@link packSlots}. */
export function unpackSlots(packed: Uint8Array): Slots {
  return Uint8Array.from({ length: SLOTS }, (_, slot) => ((packed[slot >> 3] as number) >> (slot & 7)) & 1);
}

/**
 * The versions of one bucket as two replicas compare them: the sum of all digests, which tells whether they differ, and
 * the set of their ids, from which a difference is computed (`../reconcile/sketch.ts`). Both are kept at every write.
 *
 * Where a bucket is not everywhere, two replicas have only some slots in common (`scope.ts`), and sums are kept by slot
 * from the first time that they are asked for.
 */
export class Versions {
  /** The sum of all digests. Not to be changed. */
  readonly sum: Sum = emptySum();
  readonly #ids: IdSet;
  /** By their place among the ids. */
  readonly #entries: (Entry | undefined)[] = [];
  readonly #slotSizes = new Uint32Array(SLOTS);
  #slotSums: readonly Sum[] | undefined;

  /** @param random makes ids crafted to collide in memory as good as any others. */
  constructor(random: Random) {
    this.#ids = new IdSet(random);
  }

  /** Adds an entry; its key must not be here. */
  add(entry: Entry): void {
    addDigest(this.sum, entry.batch.digests, entry.index * 32);
    this.#addTo(entry, addDigest);
    const slot = slotOf(entry.path);
    this.#slotSizes[slot] = this.sizeOf(slot) + 1;
    const at = this.#ids.add(...wordsOf(entry));
    if (at !== -1) this.#entries[at] = entry;
  }

  /** Removes an entry that is here. */
  remove(entry: Entry): void {
    subtractDigest(this.sum, entry.batch.digests, entry.index * 32);
    this.#addTo(entry, subtractDigest);
    const slot = slotOf(entry.path);
    this.#slotSizes[slot] = this.sizeOf(slot) - 1;
    const words = wordsOf(entry);
    // Two keys with one id: only the first of them is among the ids.
    if (this.#entries[this.#ids.find(...words)] === entry) this.#entries[this.#ids.remove(...words)] = undefined;
  }

  #addTo({ path, batch, index }: Entry, change: typeof addDigest): void {
    const sum = this.#slotSums?.[slotOf(path)];
    if (sum !== undefined) change(sum, batch.digests, index * 32);
  }

  /** The version with that id. */
  find(id: VersionId): Entry | undefined {
    return this.#entries[this.#ids.find(...wordsIn(id))];
  }

  /** Whether a later version of the same place is here: nearly always of the same key. */
  hasLater(id: VersionId): boolean {
    const tick = tickOf(id);
    return this.#ids.some(placeOf(id), (b, c) => tickIn(b, c) > tick);
  }

  /** The sums of the slots. Not to be changed. */
  slotSums(): readonly Sum[] {
    if (this.#slotSums === undefined) {
      this.#slotSums = Array.from({ length: SLOTS }, emptySum);
      for (const entry of this.#entries) if (entry !== undefined) this.#addTo(entry, addDigest);
    }
    return this.#slotSums;
  }

  /** How many versions a slot holds. */
  sizeOf(slot: number): number {
    return this.#slotSizes[slot] as number;
  }

  /** The versions by slot: one pass over all of them. */
  bySlot(): Entry[][] {
    const slots = Array.from({ length: SLOTS }, (): Entry[] => []);
    for (const entry of this.#entries) if (entry !== undefined) slots[slotOf(entry.path)]?.push(entry);
    return slots;
  }

  /** The ids of some slots, or of all. */
  ids(slots: Slots | undefined): Ids {
    return slots === undefined ? this.#ids : new PartSet(this.#ids, (path) => slots[slotOf(path)] === 1);
  }
}
