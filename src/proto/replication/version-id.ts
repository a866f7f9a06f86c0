import { IdList } from "../reconcile/id-list.ts";
import type { Batch } from "./batch.ts";
import type { Entry } from "./entry.ts";
import { type Clock, instantOf } from "./hlc.ts";

/**
 * Ids: how anti-entropy names versions in lists.
 *
 * An id is 16 bytes: the key's place (4), the clock in ticks of 16 ms (5), the beginning of the digest (7). The digest tells versions apart;
 * place and tick say which of two versions of a key is the older, so that nobody asks for a version only to find it
 * superseded. In memory an id is a string of 8 characters of 16 bits each, fit to be the key of a map.
 *
 * Of two ids with one place the older is taken for an older version of the same key. Two keys may share a place: then
 * the older entry waits until both sides have the newer one, and is found by the exchange after that.
 */
export type VersionId = string;

/** Five bytes of these last for five centuries. */
const TICK_MS = 16;

/** Bytes of an id on the wire. */
export const ID_BYTES = 16;

/** Characters of an id in memory. */
const UNITS = ID_BYTES / 2;

/** The id of a version whose digest is number `index` of `batch`. */
export function versionId(path: number, clock: Clock, batch: Batch, index: number): VersionId {
  return versionIdOf(path, clock, batch.digests, index * 32);
}

/** The id of a version whose digest begins at `start` of `digests`. */
export function versionIdOf(path: number, clock: Clock, digests: Uint8Array, start = 0): VersionId {
  const [a, b, c, d] = words(path, clock, digests, start);
  return fromWords(a, b, c, d);
}

/** The id of a stored version. */
export function idOf(entry: Entry): VersionId {
  return versionId(entry.path, entry.clock, entry.batch, entry.index);
}

/** The id of a stored version as four words. */
export function wordsOf({ path, clock, batch, index }: Entry): [number, number, number, number] {
  return words(path, clock, batch.digests, index * 32);
}

function words(path: number, clock: Clock, digests: Uint8Array, start: number): [number, number, number, number] {
  const tick = Math.floor(instantOf(clock) / TICK_MS);
  const at = (byte: number): number => digests[start + byte] as number;
  return [
    path,
    Math.floor(tick / 0x100) >>> 0,
    (((tick & 0xff) << 24) | (at(0) << 16) | (at(1) << 8) | at(2)) >>> 0,
    ((at(3) << 24) | (at(4) << 16) | (at(5) << 8) | at(6)) >>> 0,
  ];
}

function fromWords(a: number, b: number, c: number, d: number): VersionId {
  const low = 0xffff;
  return String.fromCharCode(a >>> 16, a & low, b >>> 16, b & low, c >>> 16, c & low, d >>> 16, d & low);
}

/** An id as four words. */
export function wordsIn(id: VersionId): [number, number, number, number] {
  return [wordAt(id, 0), wordAt(id, 1), wordAt(id, 2), wordAt(id, 3)];
}

function wordAt(id: VersionId, word: number): number {
  return ((id.charCodeAt(word * 2) << 16) | id.charCodeAt(word * 2 + 1)) >>> 0;
}

/** The ids of a list. */
export function idsIn(list: IdList): VersionId[] {
  return Array.from({ length: list.length }, (_, index) =>
    fromWords(list.word(index, 0), list.word(index, 1), list.word(index, 2), list.word(index, 3)),
  );
}

/** Ids as a list. */
export function listOf(ids: Iterable<VersionId>): IdList {
  const list = new IdList();
  for (const id of ids) list.push(...wordsIn(id));
  return list;
}

/** The key's place. */
export function placeOf(id: VersionId): number {
  return wordAt(id, 0);
}

/** The clock in ticks. */
export function tickOf(id: VersionId): number {
  return tickIn(wordAt(id, 1), wordAt(id, 2));
}

/** The clock in ticks, by the second and third word. */
export function tickIn(b: number, c: number): number {
  return b * 0x100 + (c >>> 24);
}

/** Ids as one byte string. */
export function packIds(ids: readonly VersionId[]): Uint8Array {
  const packed = new Uint8Array(ids.length * ID_BYTES);
  let offset = 0;
  for (const id of ids) {
    for (let unit = 0; unit < UNITS; unit++) {
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
        unitAt(packed, offset + 14),
      ),
    );
  }
  return ids;
}

function unitAt(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
}
