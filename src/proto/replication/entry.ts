import { compareBytes, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { Batch } from "./batch.ts";
import type { Clock } from "./hlc.ts";
import { MAX_INLINE_VALUE_BYTES, MAX_KEY_BYTES } from "./limits.ts";

/**
 * Entries: the versions of keys.
 *
 * A version is named by its digest, SHA-256 over a canonical layout of everything that it says: author, bucket, key,
 * clock, whether it deletes, size and hash of the value. The value itself enters by its hash, so a version can be
 * proven, compared and wished for before its value has travelled. Equal digests mean equal versions everywhere;
 * anti-entropy compares nothing else.
 *
 * Of two versions of a key the one with the later clock wins, then the greater author, then the greater value hash.
 * The order is total, so any set of versions has one winner, whatever order they arrive in.
 */

/** What a version says, without the value and without who said it. */
export interface EntryHead {
  readonly bucket: string;
  readonly key: string;
  /** UTF-8 bytes of `key`. */
  readonly keyBytes: number;
  readonly clock: Clock;
  /** A tombstone: `size` is 0 and `valueHash` is all zero. */
  readonly deleted: boolean;
  /** Bytes of the value. */
  readonly size: number;
  /** SHA-256 of the value, 32 bytes. */
  readonly valueHash: Uint8Array;
}

/**
 * A version with its value and its proof, as stored. The hash of a small value is not kept: it is rarely needed and
 * costs as much memory as the rest; see {@link hashOf}.
 */
export interface Entry extends Omit<EntryHead, "valueHash"> {
  /** Kept for values that travel apart from their batch. */
  readonly valueHash: Uint8Array | undefined;
  /** Empty for a tombstone. */
  readonly value: Uint8Array;
  readonly batch: Batch;
  /** Where this version's digest stands in the batch's list. */
  readonly index: number;
  /** The key's place in the tree: the first 32 bits of its hash. */
  readonly path: number;
  /** Where it stands among the changes of this replica; 0 until it is one. */
  cursor: number;
}

/** The value hash of a tombstone. */
export const NO_HASH = new Uint8Array(32);

/** The value of a tombstone. */
export const NO_VALUE = new Uint8Array(0);

const BUCKET = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Whether `name` may name a bucket: 1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit. */
export function isBucketName(name: string): boolean {
  return BUCKET.test(name);
}

/** The UTF-8 form of a key; undefined unless it is 1 to 512 bytes of well-formed Unicode. */
export function encodeKey(key: string): Uint8Array | undefined {
  // A lone surrogate has no UTF-8 form of its own: two keys would become one on the wire.
  if (key.length === 0 || key.length > MAX_KEY_BYTES || /\p{Surrogate}/u.test(key)) return undefined;
  const bytes = utf8(key);
  return bytes.length <= MAX_KEY_BYTES ? bytes : undefined;
}

/** The key's place in the tree: the first 32 bits of SHA-256 over its UTF-8 form. */
export function pathOf(keyBytes: Uint8Array): number {
  const hash = sha256(keyBytes);
  return (
    (((hash[0] as number) << 24) | ((hash[1] as number) << 16) | ((hash[2] as number) << 8) | (hash[3] as number)) >>> 0
  );
}

const LABEL = utf8("starling/entry/1\0");

/**
 * The digest of a version, 32 bytes: SHA-256 over the label `starling/entry/1` and a zero byte, author (32), bucket
 * (length 1, text), key (length 2, text), clock (8), 1 for a tombstone or 0 (1), size (4), value hash (32). Integers
 * are big-endian.
 */
export function entryDigest(authorKey: Uint8Array, head: EntryHead, keyBytes: Uint8Array): Uint8Array {
  const bucket = utf8(head.bucket);
  const layout = new Uint8Array(LABEL.length + 80 + bucket.length + keyBytes.length);
  const view = new DataView(layout.buffer);
  let offset = LABEL.length;
  layout.set(LABEL, 0);
  layout.set(authorKey, offset);
  offset += 32;
  layout[offset++] = bucket.length;
  layout.set(bucket, offset);
  offset += bucket.length;
  view.setUint16(offset, keyBytes.length);
  layout.set(keyBytes, offset + 2);
  offset += 2 + keyBytes.length;
  writeClock(view, offset, head.clock);
  layout[offset + 8] = head.deleted ? 1 : 0;
  view.setUint32(offset + 9, head.size);
  layout.set(head.valueHash, offset + 13);
  return sha256(layout);
}

/** Writes a clock as 8 bytes, big-endian. */
export function writeClock(view: DataView, offset: number, clock: Clock): void {
  view.setUint32(offset, Math.floor(clock / 4_294_967_296));
  view.setUint32(offset + 4, clock % 4_294_967_296);
}

/** The entry to store. */
export function entryOf(head: EntryHead, value: Uint8Array, batch: Batch, index: number, path: number): Entry {
  const valueHash = head.size > MAX_INLINE_VALUE_BYTES ? head.valueHash : undefined;
  return { ...head, valueHash, value, batch, index, path, cursor: 0 };
}

/** SHA-256 of an entry's value; all zero for a tombstone. */
export function hashOf(entry: Entry): Uint8Array {
  return entry.deleted ? NO_HASH : (entry.valueHash ?? sha256(entry.value));
}

/** The order of versions of one key: positive when the first wins, zero when neither does. */
export function compareVersions(a: Entry, b: Entry): number {
  if (a.clock !== b.clock) return a.clock - b.clock;
  if (a.batch.author !== b.batch.author) return a.batch.author > b.batch.author ? 1 : -1;
  return compareBytes(hashOf(a), hashOf(b));
}

/** Whether two places in batches' digest lists name the same version. */
export function isSameVersion(batch: Batch, index: number, other: Batch, otherIndex: number): boolean {
  for (let byte = 0; byte < 32; byte++) {
    if (batch.digests[index * 32 + byte] !== other.digests[otherIndex * 32 + byte]) return false;
  }
  return true;
}

/** The digest of a stored version: a view of its batch's list, to be copied if kept. */
export function digestOf(entry: Entry): Uint8Array {
  return entry.batch.digests.subarray(entry.index * 32, entry.index * 32 + 32);
}
