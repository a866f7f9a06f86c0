import type { Batch } from "./batch.ts";
import type { Entry } from "./entry.ts";
import { type Clock, instantOf } from "./hlc.ts";

/**
 * Ids: how anti-entropy names versions in lists.
 *
 * An id is 14 bytes: the key's place in the tree (4), the clock in ticks of 16 ms (5), and the beginning of the
 * digest (5). The digest tells versions apart; place and tick say which of two versions of a key is the older, so
 * that nobody asks for a version only to find it superseded. In memory an id is a string of 7 characters of 16 bits
 * each, fit to be the key of a map.
 *
 * Of two ids with one place the older is taken for an older version of the same key. Two keys may share a place: then
 * the older entry waits until both sides have the newer one, and is found by the exchange after that.
 */
export type VersionId = string;

/** Five bytes of these last for five centuries. */
const TICK_MS = 16;

/** Bytes of an id on the wire. */
export const ID_BYTES = 14;

/** The id of a version whose digest is number `index` of `batch`. */
export function versionId(path: number, clock: Clock, batch: Batch, index: number): VersionId {
  return versionIdOf(path, clock, batch.digests, index * 32);
}

/** The id of a version whose digest begins at `start` of `digests`. */
export function versionIdOf(path: number, clock: Clock, digests: Uint8Array, start = 0): VersionId {
  const tick = Math.floor(instantOf(clock) / TICK_MS);
  return String.fromCharCode(
    path >>> 16,
    path & 0xffff,
    Math.floor(tick / 0x100_0000),
    (tick >>> 8) & 0xffff,
    ((tick & 0xff) << 8) | (digests[start] as number),
    ((digests[start + 1] as number) << 8) | (digests[start + 2] as number),
    ((digests[start + 3] as number) << 8) | (digests[start + 4] as number),
  );
}

/** The id of a stored version. */
export function idOf(entry: Entry): VersionId {
  return versionId(entry.path, entry.clock, entry.batch, entry.index);
}

/** The key's place in the tree. */
export function placeOf(id: VersionId): number {
  return ((id.charCodeAt(0) << 16) | id.charCodeAt(1)) >>> 0;
}

/** The clock in ticks. */
function tickOf(id: VersionId): number {
  return id.charCodeAt(2) * 0x100_0000 + id.charCodeAt(3) * 0x100 + (id.charCodeAt(4) >>> 8);
}

/** Ids as one byte string. */
export function packIds(ids: readonly VersionId[]): Uint8Array {
  const packed = new Uint8Array(ids.length * ID_BYTES);
  let offset = 0;
  for (const id of ids) {
    for (let unit = 0; unit < 7; unit++) {
      const code = id.charCodeAt(unit);
      packed[offset++] = code >>> 8;
      packed[offset++] = code & 0xff;
    }
  }
  return packed;
}

/** The ids in a byte string made by {@link packIds}; its length is a multiple of {@link ID_BYTES}. */
export function unpackIds(packed: Uint8Array): VersionId[] {
  const ids: VersionId[] = [];
  for (let offset = 0; offset < packed.length; offset += ID_BYTES) {
    ids.push(
      String.fromCharCode(
        unitAt(packed, offset),
        unitAt(packed, offset + 2),
        unitAt(packed, offset + 4),
        unitAt(packed, offset + 6),
        unitAt(packed, offset + 8),
        unitAt(packed, offset + 10),
        unitAt(packed, offset + 12),
      ),
    );
  }
  return ids;
}

function unitAt(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
}

/** What two complete lists of one range's versions mean for their owners. */
export interface Difference {
  /** Only theirs, and no older than what is here: to be had. */
  readonly missing: readonly VersionId[];
  /** Only here, and no older than what is there: to be given. */
  readonly surplus: readonly VersionId[];
}

/** Compares lists. `isComplete`: both are all of a range; else nothing can be said of age. */
export function compareLists(
  mine: Iterable<VersionId>,
  theirs: ReadonlySet<VersionId>,
  isComplete: boolean,
): Difference {
  const missing = new Set(theirs);
  const surplus: VersionId[] = [];
  for (const id of mine) if (!missing.delete(id)) surplus.push(id);
  if (!isComplete || missing.size === 0 || surplus.length === 0) return { missing: [...missing], surplus };
  const theirLatest = latestByPlace(missing);
  const myLatest = latestByPlace(surplus);
  return {
    missing: [...missing].filter((id) => (myLatest.get(placeOf(id)) ?? 0) <= tickOf(id)),
    surplus: surplus.filter((id) => (theirLatest.get(placeOf(id)) ?? 0) <= tickOf(id)),
  };
}

function latestByPlace(ids: Iterable<VersionId>): ReadonlyMap<number, number> {
  const latest = new Map<number, number>();
  for (const id of ids) {
    const place = placeOf(id);
    latest.set(place, Math.max(latest.get(place) ?? 0, tickOf(id)));
  }
  return latest;
}
