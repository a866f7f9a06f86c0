import { IdList } from "./id-list.ts";
import { type ExchangeKey, mix32 } from "./mixing.ts";

/** A hash of an id under the exchange's key: for tables, and to divide a heavy leaf into parts. */
export function keyedHash(key: ExchangeKey, list: IdList, index: number): number {
  const first = mix32(mix32(list.word(index, 0) ^ (key.seed[3] as number)) + list.word(index, 1));
  return mix32(mix32(first ^ list.word(index, 2)) + (list.word(index, 3) ^ (key.seed[4] as number)));
}

/** Keeps the ids whose hash begins with the `bits` bits `part`. */
export function keepPart(key: ExchangeKey, list: IdList, bits: number, part: number): IdList {
  if (bits === 0) return list;
  const kept = new IdList();
  for (let index = 0; index < list.length; index++) {
    if (keyedHash(key, list, index) >>> (32 - bits) === part) kept.pushFrom(list, index);
  }
  return kept;
}

/** What two lists of all ids in some leaves mean for the owner of the first. */
export interface Comparison {
  /** Only in the second list. */
  readonly missing: IdList;
  /** Only in the first. */
  readonly surplus: IdList;
}

/**
 * Compares two lists by a table under the exchange's key, which ids cannot be crafted to overfill. Undefined when an id
 * is twice in `theirs`.
 */
export function compareIds(key: ExchangeKey, mine: IdList, theirs: IdList): Comparison | undefined {
  const mask = (2 << (32 - Math.clz32(theirs.length))) - 1;
  /** Index + 1 of an id of theirs; negative once it has been matched. */
  const table = new Int32Array(mask + 1);
  for (let index = 0; index < theirs.length; index++) {
    let slot = keyedHash(key, theirs, index) & mask;
    for (let taken = table[slot] as number; taken !== 0; taken = table[slot] as number) {
      if (isSame(theirs, taken - 1, theirs, index)) return undefined;
      slot = (slot + 1) & mask;
    }
    table[slot] = index + 1;
  }
  const missing = new IdList();
  const surplus = new IdList();
  for (let index = 0; index < mine.length; index++) {
    let slot = keyedHash(key, mine, index) & mask;
    let taken = table[slot] as number;
    while (taken !== 0 && !isSame(theirs, Math.abs(taken) - 1, mine, index)) {
      slot = (slot + 1) & mask;
      taken = table[slot] as number;
    }
    if (taken === 0) surplus.pushFrom(mine, index);
    else table[slot] = -Math.abs(taken);
  }
  for (const taken of table) if (taken > 0) missing.pushFrom(theirs, taken - 1);
  return { missing, surplus };
}

function isSame(left: IdList, at: number, right: IdList, index: number): boolean {
  return (
    left.word(at, 3) === right.word(index, 3) &&
    left.word(at, 0) === right.word(index, 0) &&
    left.word(at, 1) === right.word(index, 1) &&
    left.word(at, 2) === right.word(index, 2)
  );
}
