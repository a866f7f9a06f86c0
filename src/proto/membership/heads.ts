import { prefixOf } from "../overlay/atlas.ts";
import type { PeerId } from "../peer-id.ts";
import { type Columns, type Member, Row } from "./columns.ts";
import { bucketOf, digestWord } from "./digest.ts";
import type { MemberRecord } from "./record.ts";

/**
 * The shortest form of what a member holds about another: 12 bytes, the first four of its key and the 64-bit word that it
 * adds to the digest. Whose words are equal hold the same record and standing. It tells nothing more: of whom the words
 * differ, an {@link Entry} follows.
 *
 * Keys may begin alike, by chance once in a hundred clusters of 10,000, or because somebody has tried many: whatever is said of
 * such a beginning is said of all of them, and costs a record that was not needed.
 */
export const HEAD_BYTES = 12;
export const PREFIX_BYTES = 4;

/** What a list lacks, holds otherwise and holds beyond, compared with the heads of another. */
export interface Difference {
  /** Beginnings of the keys of members that only the other one holds. */
  readonly missing: readonly number[];
  readonly differing: readonly Member[];
  /** Members in the same buckets that only this one holds. */
  readonly beyond: readonly PeerId[];
}

/** The members of the buckets of `mask` in short; none that is told to nobody. In parts of about `mostBytes`, each with the buckets that it covers. */
export function* packHeads(
  columns: Columns,
  mask: Uint8Array,
  mostBytes: number,
): Generator<{ readonly mask: Uint8Array; readonly heads: Uint8Array }> {
  const buckets: number[][] = Array.from({ length: mask.length * 8 }, () => []);
  for (let number = 0; number < columns.length; number++) {
    if (!columns.has(number) || columns.lapsed(number)) continue;
    const bucket = bucketOf(recordOf(columns, number).key);
    if (isIn(mask, bucket)) (buckets[bucket] as number[]).push(number);
  }
  let covered = new Uint8Array(mask.length);
  let numbers: number[] = [];
  for (const [bucket, held] of buckets.entries()) {
    if (!isIn(mask, bucket)) continue;
    if (numbers.length > 0 && (numbers.length + held.length) * HEAD_BYTES > mostBytes) {
      yield { mask: covered, heads: pack(columns, numbers) };
      covered = new Uint8Array(mask.length);
      numbers = [];
    }
    covered[bucket >> 3] = (covered[bucket >> 3] as number) | (1 << (bucket & 7));
    for (const number of held) numbers.push(number);
  }
  yield { mask: covered, heads: pack(columns, numbers) };
}

/** Compares what another list holds in the buckets of `mask` with what this one holds there. */
export function compareHeads(columns: Columns, mask: Uint8Array, heads: Uint8Array): Difference {
  const { atlas } = columns;
  const view = new DataView(heads.buffer, heads.byteOffset, heads.length);
  const met = new Uint8Array(columns.length);
  const differing = new Set<number>();
  const missing: number[] = [];
  for (let at = 0; at < heads.length; at += HEAD_BYTES) {
    const prefix = view.getUint32(at);
    let equal = -1;
    let held = 0;
    for (let number = atlas.findPrefix(prefix); number >= 0; number = atlas.otherPrefix(number)) {
      if (!columns.has(number)) continue;
      const down = columns.state(number) === "down";
      const record = recordOf(columns, number);
      const isEqual = view.getUint32(at + 4) === digestWord(record, 0, down);
      if (isEqual && view.getUint32(at + 8) === digestWord(record, 1, down)) equal = number;
      // Of whom we tell nobody we learn whatever there is.
      if (!columns.lapsed(number)) held++;
    }
    if (equal >= 0) met[equal] = 1;
    else if (held === 0) missing.push(prefix);
    else {
      for (let number = atlas.findPrefix(prefix); number >= 0; number = atlas.otherPrefix(number)) {
        if (!columns.has(number) || columns.lapsed(number)) continue;
        differing.add(number);
        met[number] = 1;
      }
    }
  }
  const beyond: PeerId[] = [];
  for (let number = 0; number < met.length; number++) {
    if (met[number] === 1 || !columns.has(number) || columns.lapsed(number)) continue;
    const { id, key } = recordOf(columns, number);
    if (isIn(mask, bucketOf(key))) beyond.push(id);
  }
  return { missing, differing: [...differing].map((number) => new Row(columns, number)), beyond };
}

/** The members whose keys begin with `prefix`. */
export function membersUnder(columns: Columns, prefix: number): Member[] {
  const members: Member[] = [];
  const { atlas } = columns;
  for (let number = atlas.findPrefix(prefix); number >= 0; number = atlas.otherPrefix(number))
    if (columns.has(number)) members.push(new Row(columns, number));
  return members;
}

export function* prefixesIn(packed: Uint8Array): Generator<number> {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.length);
  for (let at = 0; at < packed.length; at += PREFIX_BYTES) yield view.getUint32(at);
}

export function packPrefixes(prefixes: readonly number[]): Uint8Array {
  const packed = new Uint8Array(prefixes.length * PREFIX_BYTES);
  const view = new DataView(packed.buffer);
  prefixes.forEach((prefix, index) => {
    view.setUint32(index * PREFIX_BYTES, prefix);
  });
  return packed;
}

function pack(columns: Columns, numbers: readonly number[]): Uint8Array {
  const packed = new Uint8Array(numbers.length * HEAD_BYTES);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const number of numbers) {
    const record = recordOf(columns, number);
    const down = columns.state(number) === "down";
    view.setUint32(at, prefixOf(record.key));
    view.setUint32(at + 4, digestWord(record, 0, down));
    view.setUint32(at + 8, digestWord(record, 1, down));
    at += HEAD_BYTES;
  }
  return packed;
}

function recordOf(columns: Columns, number: number): MemberRecord {
  return (columns.vouched[number] as { readonly record: MemberRecord }).record;
}

function isIn(mask: Uint8Array, bucket: number): boolean {
  return (((mask[bucket >> 3] as number) >> (bucket & 7)) & 1) === 1;
}
