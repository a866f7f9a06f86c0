import { sha256 } from "../hash.ts";

/**
 * Digests of sets: the sum of the members' SHA-256 digests modulo 2^256. Adding or removing a member costs a few
 * additions, in any order, and two sets are taken as equal when their sums are.
 *
 * What it resists: two sets of one's own entries with the same sum take tens of thousands of entries and some 2^32
 * steps to find (Wagner's generalised birthday). That gains an author only that replicas disagree about that author's
 * own entries, in a bucket where it may write anyway; nobody else's entries can be hidden without its key.
 *
 * On the wire a sum appears only as a fingerprint under a salt chosen for one exchange, so that a chance collision of
 * short fingerprints does not outlive the exchange.
 */
export type Sum = Uint32Array;

/** The sum of the empty set. */
export function emptySum(): Sum {
  return new Uint32Array(8);
}

/** Adds the 32-byte digest at `offset` of `digests`. */
export function addDigest(sum: Sum, digests: Uint8Array, offset: number): void {
  let carry = 0;
  for (let word = 0; word < 8; word++) {
    const total = (sum[word] as number) + wordAt(digests, offset + word * 4) + carry;
    sum[word] = total;
    carry = total > 0xffffffff ? 1 : 0;
  }
}

/** Takes away the 32-byte digest at `offset` of `digests`. */
export function subtractDigest(sum: Sum, digests: Uint8Array, offset: number): void {
  let borrow = 0;
  for (let word = 0; word < 8; word++) {
    const total = (sum[word] as number) - wordAt(digests, offset + word * 4) - borrow;
    sum[word] = total;
    borrow = total < 0 ? 1 : 0;
  }
}

function wordAt(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset] as number) |
      ((bytes[offset + 1] as number) << 8) |
      ((bytes[offset + 2] as number) << 16) |
      ((bytes[offset + 3] as number) << 24)) >>>
    0
  );
}

/** Adds another sum. */
export function addSum(sum: Sum, other: Sum): void {
  let carry = 0;
  for (let word = 0; word < 8; word++) {
    const total = (sum[word] as number) + (other[word] as number) + carry;
    sum[word] = total;
    carry = total > 0xffffffff ? 1 : 0;
  }
}

/** The sum as 32 bytes. */
export function sumBytes(sum: Sum): Uint8Array {
  const bytes = new Uint8Array(32);
  for (let word = 0; word < 8; word++) {
    const value = sum[word] as number;
    bytes[word * 4] = value & 0xff;
    bytes[word * 4 + 1] = (value >>> 8) & 0xff;
    bytes[word * 4 + 2] = (value >>> 16) & 0xff;
    bytes[word * 4 + 3] = value >>> 24;
  }
  return bytes;
}

/** Bytes of a salt. */
export const SALT_BYTES = 8;

/** Bytes of a range's fingerprint: a chance collision in one of 2^48, undone by the next exchange's salt. */
export const FINGERPRINT_BYTES = 6;

/** Bytes of the fingerprint of everything. */
export const ROOT_BYTES = 16;

/** `length` bytes of SHA-256 over salt and sum. */
export function fingerprint(salt: Uint8Array, sum: Sum, length: number): Uint8Array {
  const input = new Uint8Array(SALT_BYTES + 32);
  input.set(salt, 0);
  input.set(sumBytes(sum), SALT_BYTES);
  return sha256(input).subarray(0, length);
}
