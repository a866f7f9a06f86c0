import { hex } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import type { Statement } from "../signed.ts";
import { mayDo } from "../trust/rights.ts";
import type { WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, integer, peer, text, tuple } from "../wire/shape.ts";
import {
  digestOf,
  type Entry,
  type EntryHead,
  encodeKey,
  entryDigest,
  entryOf,
  hashOf,
  isBucketName,
  NO_HASH,
  NO_VALUE,
  pathOf,
  writeClock,
} from "./entry.ts";
import { CLOCKS_PER_MS, type Clock } from "./hlc.ts";
import {
  MAX_BATCH_ENTRIES,
  MAX_BATCH_SPAN_MS,
  MAX_INLINE_VALUE_BYTES,
  MAX_KEY_BYTES,
  MAX_VALUE_BYTES,
} from "./limits.ts";
import { POLICY_BUCKET } from "./policy.ts";

/**
 * Batches: what an author signs.
 *
 * The signature covers a header (author, hash of the author's token, first and last clock, the share of members asked
 * to acknowledge, whether its entries belong together) and the digests of all entries, not the entries. Whoever holds any one entry, the header, the
 * digest list and the signature can prove that entry alone: a batch whose other entries have been superseded stays
 * verifiable.
 *
 * A {@link Parcel} is a batch's proof with some of its entries, as it travels. Parsing checks everything that needs
 * no key: names, sizes, clocks within the header's range, and that each entry's digest is in the list. What is left
 * is the signature, and that the token was valid at the batch's clock and allows its author to write to the buckets;
 * both are effects.
 */

/** The header, digests and signature: the proof shared by all entries of a batch. */
export interface Batch {
  readonly author: PeerId;
  /** SHA-256 of the token under which the author wrote, 32 bytes. */
  readonly tokenHash: Uint8Array;
  readonly first: Clock;
  readonly last: Clock;
  /** The share of members without a link to the author that acknowledge: 0 none, 65535 all. */
  readonly acks: number;
  /** Its entries belong together: no replica ever has some of them without the others, but for those superseded. */
  readonly isAtomic: boolean;
  /** 32 bytes per entry. */
  readonly digests: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** An entry as it travels: with its value, or announced (`value` undefined) to be pulled. */
export interface ParcelEntry {
  readonly head: EntryHead;
  readonly index: number;
  readonly path: number;
  readonly value: Uint8Array | undefined;
}

/** A batch's proof with some of its entries. */
export interface Parcel {
  readonly batch: Batch;
  readonly entries: readonly ParcelEntry[];
}

const ATOMIC_BIT = 0x8000;
const ATOMIC = 0x1_0000;

/** Why a parcel was refused. */
export type ParcelFault = "malformed" | "not-in-batch";

/**
 * The bytes under the signature: author (32), token hash (32), first and last clock (8 each), acks (2), count (2) with
 * the highest bit for an atomic batch, digests.
 */
export function batchBody(header: Omit<Batch, "signature">): Uint8Array {
  const body = new Uint8Array(84 + header.digests.length);
  const view = new DataView(body.buffer);
  body.set(publicKeyOf(header.author), 0);
  body.set(header.tokenHash, 32);
  writeClock(view, 64, header.first);
  writeClock(view, 72, header.last);
  view.setUint16(80, header.acks);
  view.setUint16(82, header.digests.length / 32 + (header.isAtomic ? ATOMIC_BIT : 0));
  body.set(header.digests, 84);
  return body;
}

/** The statement that proves a batch. */
export function statementOf(batch: Batch): Statement {
  return { signer: batch.author, label: "starling/batch/1", body: batchBody(batch), signature: batch.signature };
}

/** Whether `scopes` cover `kv:write:BUCKET`, or to say what holds for a bucket `kv:admin:BUCKET`. */
export function mayWrite(scopes: readonly string[], bucket: string, key: string): boolean {
  return bucket === POLICY_BUCKET ? mayDo(scopes, "govern-bucket", key) : mayDo(scopes, "write-bucket", bucket);
}

/** The version of an entry as applications see it: its digest, 64 hexadecimal digits. */
export function versionOf(entry: Entry): string {
  return hex(digestOf(entry));
}

/** `[author, tokenHash, first, last - first, acks + 65,536 if atomic, digests, signature]` */
export function encodeBatch(batch: Batch): WireValue {
  const { author, tokenHash, first, last, acks, isAtomic, digests, signature } = batch;
  return [publicKeyOf(author), tokenHash, first, last - first, acks + (isAtomic ? ATOMIC : 0), digests, signature];
}

/** `[bucket, key, clock - first, value or null]`, or with size and value hash in place of a value that is pulled. */
function encodeEntry(entry: Entry): WireValue {
  const { bucket, key, clock, deleted, value, size } = entry;
  const since = clock - entry.batch.first;
  if (size > MAX_INLINE_VALUE_BYTES) return [bucket, key, since, size, hashOf(entry)];
  return [bucket, key, since, deleted ? null : value];
}

/** A parcel as a wire value. Values above the inline bound are announced. `entries` are all of `batch`. */
export function encodeParcel(batch: Batch, entries: readonly Entry[]): WireValue {
  return [encodeBatch(batch), entries.map(encodeEntry)];
}

/** About how many bytes a batch's proof and one of its entries take on the wire; never less than they do. */
export function proofBytes(batch: Batch): number {
  return 180 + batch.digests.length;
}
export function entryBytes(head: Omit<EntryHead, "valueHash">): number {
  const carried = head.size > MAX_INLINE_VALUE_BYTES ? 40 : head.size;
  return 32 + head.bucket.length + head.keyBytes + carried;
}

/** The reverse of {@link encodeBatch}; undefined when it is none. */
export function parseBatch(value: WireValue | undefined): Batch | undefined {
  const fields = tuple(value, 7);
  if (fields === undefined) return undefined;
  const author = peer(fields[0]);
  const tokenHash = bytesOf(fields[1], 32);
  const first = integer(fields[2], 1);
  const span = integer(fields[3], 0, MAX_BATCH_SPAN_MS * CLOCKS_PER_MS);
  const acks = integer(fields[4], 0, 2 * ATOMIC - 1);
  const digests = bytes(fields[5], MAX_BATCH_ENTRIES * 32);
  const signature = bytesOf(fields[6], 64);
  if (author === undefined || tokenHash === undefined || first === undefined || span === undefined) return undefined;
  if (acks === undefined || digests === undefined || signature === undefined) return undefined;
  if (digests.length === 0 || digests.length % 32 !== 0 || !Number.isSafeInteger(first + span)) return undefined;
  // Copied: a stored entry must not keep the whole message that it came in.
  return {
    author,
    tokenHash: tokenHash.slice(),
    first,
    last: first + span,
    acks: acks % ATOMIC,
    isAtomic: acks >= ATOMIC,
    digests: digests.slice(),
    signature: signature.slice(),
  };
}

function parseContent(
  fields: readonly WireValue[],
): (Pick<ParcelEntry, "value"> & Pick<EntryHead, "size" | "valueHash" | "deleted">) | undefined {
  if (fields.length === 5) {
    const size = integer(fields[3], MAX_INLINE_VALUE_BYTES + 1, MAX_VALUE_BYTES);
    const valueHash = bytesOf(fields[4], 32);
    if (size === undefined || valueHash === undefined) return undefined;
    return { size, valueHash: valueHash.slice(), deleted: false, value: undefined };
  }
  if (fields[3] === null) return { size: 0, valueHash: NO_HASH, deleted: true, value: NO_VALUE };
  const value = bytes(fields[3], MAX_INLINE_VALUE_BYTES);
  if (value === undefined) return undefined;
  return { size: value.length, valueHash: sha256(value), deleted: false, value };
}

function parseEntry(value: WireValue, batch: Batch, authorKey: Uint8Array): ParcelEntry | ParcelFault {
  const fields = tuple(value, 5) ?? tuple(value, 4);
  if (fields === undefined) return "malformed";
  const bucket = text(fields[0], 64);
  const key = text(fields[1], MAX_KEY_BYTES);
  const since = integer(fields[2], 0, batch.last - batch.first);
  const content = parseContent(fields);
  if (bucket === undefined || key === undefined || since === undefined || content === undefined) return "malformed";
  const keyBytes = encodeKey(key);
  if (keyBytes === undefined || !isBucketName(bucket)) return "malformed";
  const { deleted, size, valueHash } = content;
  const head = { bucket, key, keyBytes: keyBytes.length, clock: batch.first + since, deleted, size, valueHash };
  const index = indexOfDigest(batch.digests, entryDigest(authorKey, head, keyBytes));
  if (index < 0) return "not-in-batch";
  return { head, index, path: pathOf(keyBytes), value: content.value };
}

function indexOfDigest(digests: Uint8Array, digest: Uint8Array): number {
  for (let start = 0; start < digests.length; start += 32) {
    let byte = 0;
    while (byte < 32 && digests[start + byte] === digest[byte]) byte++;
    if (byte === 32) return start / 32;
  }
  return -1;
}

/** Parses a parcel and checks all that needs no key. Values are views of the message: {@link keep} copies them. */
export function parseParcel(value: WireValue | undefined): Parcel | ParcelFault {
  const fields = tuple(value, 2);
  const batch = parseBatch(fields?.[0]);
  const list = fields?.[1];
  if (batch === undefined || !Array.isArray(list)) return "malformed";
  if (list.length === 0 || list.length > batch.digests.length / 32) return "malformed";
  const authorKey = publicKeyOf(batch.author);
  const entries: ParcelEntry[] = [];
  for (const item of list as readonly WireValue[]) {
    const entry = parseEntry(item, batch, authorKey);
    if (typeof entry === "string") return entry;
    entries.push(entry);
  }
  return { batch, entries };
}

/** The entry to store, with a value of its own. */
export function keep(batch: Batch, entry: ParcelEntry, value: Uint8Array): Entry {
  return entryOf(entry.head, value.length === 0 ? NO_VALUE : value.slice(), batch, entry.index, entry.path);
}
