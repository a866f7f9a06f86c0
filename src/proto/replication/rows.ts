import { hex, utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, integer, tuple } from "../wire/shape.ts";
import { type Batch, encodeBatch, parseBatch } from "./batch.ts";
import { type Entry, encodeKey, entryOf, isBucketName, NO_HASH, NO_VALUE, pathOf } from "./entry.ts";
import type { Clock } from "./hlc.ts";
import { MAX_INLINE_VALUE_BYTES, MAX_VALUE_BYTES } from "./limits.ts";
import type { ServiceRecord } from "./service.ts";

/**
 * Rows: what a replica keeps in a durable store, and how it is read back.
 *
 *     space  name            value
 *     0      "meta"          [1, clock, cursor, forgotten, served, since, gap or 0, held until]
 *     1      token's hash    the token
 *     2      batch's name    the proof of a batch of several entries
 *     3      BUCKET/KEY      [1, proof or batch's name, index, clock - first, cursor, value or null(, value hash)]
 *     4      BUCKET/KEY      [1, clock, author, value or null]: set aside (`aside.ts`)
 *
 * Spaces come back in order, so that a batch is known before its entries. A batch of one entry is kept with it; of a larger one
 * each entry has only the name, 20 bytes of a hash of its signature. Hexadecimal where a name must be text.
 *
 * A row that comes back is what this replica has written: the store seals its rows, each under its own name. So signatures
 * and digests are checked before a row is written and not when it is read. What does not parse all the same, or names a batch
 * or a token that is gone, is left out, and replicas have it.
 */

/** A change to a row; undefined: the row goes. The shape of the store's own. */
export interface RowChange {
  readonly space: number;
  readonly name: string;
  readonly value: Uint8Array | undefined;
}

/** A row that is there. */
export interface StoredRow {
  readonly space: number;
  readonly name: string;
  readonly value: Uint8Array;
}

/** What kinds of row there are. */
export const Space = { meta: 0, token: 1, batch: 2, entry: 3, aside: 4 } as const;

const VERSION = 1;
const META = "meta";
const BATCH_NAME_BYTES = 20;

/** A row is a few arrays in each other with a value of at most 8 MiB in it. */
const ROW_LIMITS = { depth: 3, items: 64 };

/** What a replica must know again beside its entries. */
export interface Meta {
  /** No reading of the clock before it is given again. */
  readonly clock: Clock;
  /** The cursor of the latest change. */
  readonly cursor: number;
  /** Changes up to this cursor are not all known any more. */
  readonly forgotten: number;
  /** Whether this replica knows what was deleted. */
  readonly service: ServiceRecord;
}

/** The row of everything that is one for the whole replica. */
export function metaRow({ clock, cursor, forgotten, service }: Meta): RowChange {
  const { servedAt, since, gapFrom, heldUntil } = service;
  const times = [servedAt, since, gapFrom ?? 0, heldUntil].map(Math.floor);
  return { space: Space.meta, name: META, value: encode([VERSION, clock, cursor, forgotten, ...times]) };
}

/** A token by the hexadecimal form of its hash. */
export function tokenRow(name: string, token: string | undefined): RowChange {
  return { space: Space.token, name, value: token === undefined ? undefined : utf8(token) };
}

/** The proof of a batch of several entries; `isKept` false: its row goes. */
export function batchRow(batch: Batch, isKept: boolean): RowChange {
  return { space: Space.batch, name: hex(nameOf(batch)), value: isKept ? encode(encodeBatch(batch)) : undefined };
}

/** Whether a batch has a row of its own. */
export function isShared(batch: Batch): boolean {
  return batch.digests.length > 32;
}

const names = new WeakMap<Batch, Uint8Array>();

/** The name of a batch: 20 bytes of SHA-256 over its signature. */
export function nameOf(batch: Batch): Uint8Array {
  let name = names.get(batch);
  if (name === undefined) {
    name = sha256(batch.signature).slice(0, BATCH_NAME_BYTES);
    names.set(batch, name);
  }
  return name;
}

/** The row of a stored version. */
export function entryRow(entry: Entry): RowChange {
  const { batch, index, clock, cursor, deleted, value, valueHash } = entry;
  const proof = isShared(batch) ? nameOf(batch) : encodeBatch(batch);
  const fields: WireValue[] = [VERSION, proof, index, clock - batch.first, cursor, deleted ? null : value];
  if (valueHash !== undefined) fields.push(valueHash);
  return { space: Space.entry, name: entryName(entry.bucket, entry.key), value: encode(fields) };
}

/** The row of a key goes. */
export function noEntryRow(bucket: string, key: string): RowChange {
  return { space: Space.entry, name: entryName(bucket, key), value: undefined };
}

/** A bucket's name holds no slash. */
function entryName(bucket: string, key: string): string {
  return `${bucket}/${key}`;
}

/** Undefined for a row that does not parse. */
export function parseMeta(value: Uint8Array): Meta | undefined {
  const decoded = decode(value, ROW_LIMITS);
  // The shorter form is that of earlier versions.
  const fields = decoded.ok ? (tuple(decoded.value, 8) ?? tuple(decoded.value, 5)) : undefined;
  const clock = integer(fields?.[1]);
  const cursor = integer(fields?.[2]);
  const forgotten = integer(fields?.[3]);
  const servedAt = integer(fields?.[4]);
  if (fields?.[0] !== VERSION || clock === undefined || cursor === undefined) return undefined;
  if (forgotten === undefined || servedAt === undefined) return undefined;
  const [since = servedAt, gap = 0, heldUntil = 0] = fields.slice(5).map((field) => integer(field));
  return { clock, cursor, forgotten, service: { servedAt, since, gapFrom: gap === 0 ? undefined : gap, heldUntil } };
}

/** Undefined for a row that does not parse. */
export function parseBatchRow(value: Uint8Array): Batch | undefined {
  const decoded = decode(value, ROW_LIMITS);
  return decoded.ok ? parseBatch(decoded.value) : undefined;
}

/** The version in a row, and undefined when it does not parse or its batch is not known; `batchOf` by hexadecimal name. */
export function parseEntryRow(row: StoredRow, batchOf: (name: string) => Batch | undefined): Entry | undefined {
  const slash = row.name.indexOf("/");
  const bucket = row.name.slice(0, slash);
  const key = row.name.slice(slash + 1);
  const keyBytes = encodeKey(key);
  const decoded = decode(row.value, ROW_LIMITS);
  const fields = decoded.ok ? (tuple(decoded.value, 6) ?? tuple(decoded.value, 7)) : undefined;
  if (slash < 1 || fields === undefined || keyBytes === undefined || !isBucketName(bucket)) return undefined;
  const name = bytesOf(fields[1], BATCH_NAME_BYTES);
  const batch = name === undefined ? parseBatch(fields[1]) : batchOf(hex(name));
  const cursor = integer(fields[4]);
  if (fields[0] !== VERSION || batch === undefined || cursor === undefined) return undefined;
  const index = integer(fields[2], 0, batch.digests.length / 32 - 1);
  const since = integer(fields[3], 0, batch.last - batch.first);
  const deleted = fields[5] === null;
  const value = deleted ? NO_VALUE : bytes(fields[5], MAX_VALUE_BYTES);
  if (index === undefined || since === undefined || value === undefined) return undefined;
  const valueHash = value.length > MAX_INLINE_VALUE_BYTES ? bytesOf(fields[6], 32)?.slice() : NO_HASH;
  if (valueHash === undefined) return undefined;
  const head = {
    bucket,
    key,
    keyBytes: keyBytes.length,
    clock: batch.first + since,
    deleted,
    size: value.length,
    valueHash,
  };
  const entry = entryOf(head, value.length === 0 ? NO_VALUE : value.slice(), batch, index, pathOf(keyBytes));
  entry.cursor = cursor;
  return entry;
}
