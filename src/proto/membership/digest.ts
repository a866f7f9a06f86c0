import { BUCKETS } from "./limits.ts";
import type { MemberRecord } from "./record.ts";

/**
 * The digest of a membership list, kept up to date with every change: 64 buckets by PeerId, and in each the exclusive or
 * of one 64-bit word per member, made of its record's fingerprint and whether it counts as down. Two lists with equal
 * sums are equal but for collisions, which only the subjects of records can try to make, about themselves; broadcast and
 * the next change part them again.
 */
export class Digest {
  readonly #sums = new Uint32Array(BUCKETS * 2);

  /** Puts a member in, or, the second time, takes it out. */
  toggle(record: MemberRecord, down: boolean): void {
    const bucket = bucketOf(record.key);
    this.#sums[bucket * 2] = (this.#sums[bucket * 2] as number) ^ digestWord(record, 0, down);
    this.#sums[bucket * 2 + 1] = (this.#sums[bucket * 2 + 1] as number) ^ digestWord(record, 1, down);
  }

  copy(other: Digest): void {
    this.#sums.set(other.#sums);
  }

  /** Eight bytes over all buckets. */
  root(): Uint8Array {
    let high = 0x811c9dc5;
    let low = 0x01000193;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      high = mix(high ^ (this.#sums[bucket * 2] as number));
      low = mix(low ^ (this.#sums[bucket * 2 + 1] as number) ^ high);
    }
    const root = new Uint8Array(SUM_BYTES);
    const view = new DataView(root.buffer);
    view.setUint32(0, high);
    view.setUint32(4, low);
    return root;
  }

  /** All sums, 8 bytes each. */
  sums(): Uint8Array {
    const bytes = new Uint8Array(BUCKETS * SUM_BYTES);
    const view = new DataView(bytes.buffer);
    for (let index = 0; index < this.#sums.length; index++) view.setUint32(index * 4, this.#sums[index] as number);
    return bytes;
  }

  /** The buckets whose sums differ from `theirs` (as of {@link sums}), a bit for each; undefined: none. */
  differing(theirs: Uint8Array): Uint8Array | undefined {
    const view = new DataView(theirs.buffer, theirs.byteOffset, theirs.length);
    const mask = new Uint8Array(BUCKETS / 8);
    let some = false;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const high = view.getUint32(bucket * 8) === this.#sums[bucket * 2];
      const low = view.getUint32(bucket * 8 + 4) === this.#sums[bucket * 2 + 1];
      if (high && low) continue;
      mask[bucket >> 3] = (mask[bucket >> 3] as number) | (1 << (bucket & 7));
      some = true;
    }
    return some ? mask : undefined;
  }
}

/** The bytes of a digest's root, and of one bucket's sum. */
export const SUM_BYTES = 8;

/** The bucket of a member: the first six bits of its key. */
export function bucketOf(key: Uint8Array): number {
  return (key[0] as number) >> 2;
}

/** The first or the second half of what a member adds to its bucket. */
export function digestWord(record: MemberRecord, half: 0 | 1, down: boolean): number {
  return mix(record.fingerprint[half] ^ (down ? 0x9e3779b9 : 0));
}

/** A bijection of 32-bit words that spreads every bit (the finaliser of MurmurHash3). */
function mix(word: number): number {
  let mixed = word;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
