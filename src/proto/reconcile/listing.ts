import { keepPart } from "./compare.ts";
import { IdList } from "./id-list.ts";
import type { Ids } from "./ids.ts";
import { MAX_IDS_PER_MESSAGE, MAX_LISTED_LEAF } from "./limits.ts";
import { LEFT_OUT, type ListedRange, MAX_PART_BITS } from "./messages.ts";
import type { ExchangeKey } from "./mixing.ts";

/**
 * Plain listing: all ids in a run of leaves, as many leaves as fit into a message. A leaf that does not fit alone is
 * divided by a hash under the exchange's key, so nobody can prepare a part that is too large.
 */

/** Ids of a range. */
export interface Listing {
  /** The ids are all up to this leaf. */
  readonly next: number;
  /** Above 0: leaf `from` must be listed in parts of so many bits; {@link LEFT_OUT}: it cannot be listed. */
  readonly bits: number;
  readonly ids: IdList;
}

/** The ids of a range, or of its beginning. */
export function listRange(set: Ids, key: ExchangeKey, range: ListedRange): Listing {
  const { level, from, to, bits, part } = range;
  if (bits > 0) return listPart(set, key, level, from, bits, part);
  const ids = new IdList();
  for (let leaf = from; leaf < to; leaf++) {
    const before = ids.length;
    set.collect(level, leaf, ids, MAX_IDS_PER_MESSAGE);
    if (ids.length <= MAX_IDS_PER_MESSAGE) continue;
    if (leaf === from) return listPart(set, key, level, from, 0, 0);
    ids.truncate(before);
    return { next: leaf, bits: 0, ids };
  }
  return { next: to, bits: 0, ids };
}

function listPart(set: Ids, key: ExchangeKey, level: number, leaf: number, bits: number, part: number): Listing {
  const all = new IdList();
  set.collect(level, leaf, all, MAX_LISTED_LEAF);
  if (all.length > MAX_LISTED_LEAF) return { next: leaf, bits: LEFT_OUT, ids: new IdList() };
  const ids = keepPart(key, all, bits, part);
  if (ids.length <= MAX_IDS_PER_MESSAGE) return { next: leaf + 1, bits: 0, ids };
  let finer = bits + 1;
  while (finer < MAX_PART_BITS && all.length >>> finer > MAX_IDS_PER_MESSAGE / 2) finer++;
  return { next: leaf, bits: finer > MAX_PART_BITS ? LEFT_OUT : finer, ids: new IdList() };
}
