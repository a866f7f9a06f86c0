import { utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";

/**
 * Hashing for sketches: 32-bit words and multiplications, because it runs for every id and every leaf.
 *
 * What must not be predicted is drawn from the *exchange key*: SHA-256 over one share of salt from either side, fresh
 * for every exchange (stronger than one per pair and hour, and free, as nothing that is maintained depends on it). An
 * author of crafted ids does not know the key when it crafts; either side may bias its own share, and gains nothing
 * that it could not have by lying.
 *
 * The mixers (MurmurHash3's finaliser, PCG RXS-M-XS for sequences) are not cryptographic and need not be. Ids are
 * truncated digests, so an author draws them and cannot choose them, and where an opponent is expected (which cells a
 * leaf goes to, how sums are checked) secret words enter. What an outsider of the exchange can do without the key is
 * in the head of `id-set.ts`.
 */

/** Words of an id: 128 bits. */
export const ID_WORDS = 4;

/** Bytes of an id. */
export const ID_BYTES = 16;

/** Bytes of one side's share of the salt. */
export const SALT_BYTES = 8;

/** A bijection of 32 bits, as signed words, in which every input bit reaches every output bit. */
export function mix32(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/**
 * Adds an id's row (its four words, then four words that are no linear function of them) to `rows` at `offset`, each
 * word modulo 2^32; `sign` -1 takes it away.
 */
export function addRow(
  rows: Uint32Array,
  offset: number,
  sign: number,
  a: number,
  b: number,
  c: number,
  d: number,
): void {
  let x = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b);
  x = Math.imul((x ^ (x >>> 15)) + b, 0xc2b2ae35);
  x = Math.imul((x ^ (x >>> 13)) + c, 0x27d4eb2f);
  x = mix32((x ^ (x >>> 16)) + d);
  let y = Math.imul(d ^ 0x7f4a7c15, 0x2c1b3c6d);
  y = Math.imul((y ^ (y >>> 16)) + c, 0x297a2d39);
  y = Math.imul((y ^ (y >>> 14)) + b, 0x165667b1);
  y = mix32((y ^ (y >>> 15)) + a);
  rows[offset] = ((rows[offset] as number) + Math.imul(sign, a)) | 0;
  rows[offset + 1] = ((rows[offset + 1] as number) + Math.imul(sign, b)) | 0;
  rows[offset + 2] = ((rows[offset + 2] as number) + Math.imul(sign, c)) | 0;
  rows[offset + 3] = ((rows[offset + 3] as number) + Math.imul(sign, d)) | 0;
  rows[offset + 4] = ((rows[offset + 4] as number) + Math.imul(sign, x)) | 0;
  rows[offset + 5] = ((rows[offset + 5] as number) + Math.imul(sign, y)) | 0;
  rows[offset + 6] = ((rows[offset + 6] as number) + Math.imul(sign, mix32(x + Math.imul(y, 0x9e3779b1)))) | 0;
  rows[offset + 7] = ((rows[offset + 7] as number) + Math.imul(sign, mix32(y ^ Math.imul(x, 0x85ebca77)))) | 0;
}

/** What both sides of an exchange derive from their salts. */
export interface ExchangeKey {
  /** Four multipliers for the non-linear half of a row. */
  readonly check: Uint32Array;
  /** Two times five multipliers: for the four words of ids, and the check. */
  readonly place: Uint32Array;
  /** Three multipliers for the estimate's prints. */
  readonly print: readonly [number, number, number];
  /** Two words that seed a leaf's sequence of cells; one for its stratum; two for tables of ids. */
  readonly seed: Uint32Array;
}

/** Derives the key. Both salts have {@link SALT_BYTES}. */
export function exchangeKey(asking: Uint8Array, answering: Uint8Array): ExchangeKey {
  const label = utf8("starling reconcile 1");
  const input = new Uint8Array(label.length + 2 * SALT_BYTES + 1);
  input.set(label, 0);
  input.set(asking, label.length);
  input.set(answering, label.length + SALT_BYTES);
  const words = new Uint32Array(24);
  for (let block = 0; block < 3; block++) {
    input[input.length - 1] = block;
    readWords(sha256(input), 0, words, block * 8, 8);
  }
  return {
    check: words.subarray(0, 4),
    place: words.subarray(4, 14),
    print: [(words[14] as number) | 0, (words[15] as number) | 0, (words[16] as number) | 0],
    seed: words.subarray(17, 22),
  };
}

/** Where a leaf's sequence of cells begins, a signed word: no two leaves have the same under one key. */
export function firstState(key: ExchangeKey, leaf: number): number {
  return mix32(mix32(leaf ^ (key.seed[0] as number)) + (key.seed[1] as number));
}

/** Far beyond the cells of any sketch. */
const NEVER = 0x3fff_ffff;

/** The state after `state` (a linear congruential generator modulo 2^32). */
export function nextState(state: number): number {
  return (Math.imul(state, 747796405) + -1403630843) | 0;
}

/**
 * The cell that follows cell `index` of a sequence, by the state reached there. Cell i takes part with probability
 * 1 / (1 + i/2): the distribution of Yang et al., sampled by its inverse, so that a sequence costs two logarithms of
 * its length and not its length. Additions, one division and a square root: exact, so equal on every engine.
 */
export function nextCell(index: number, state: number): number {
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737);
  const uniform = ((word >>> 22) ^ word) >>> 0;
  return Math.min(index + Math.ceil((index + 1.5) * (65_536 / Math.sqrt(uniform + 0.5) - 1)), NEVER) | 0;
}

/** Reads little-endian words. */
export function readWords(bytes: Uint8Array, offset: number, words: Uint32Array, at: number, count: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let word = 0; word < count; word++) words[at + word] = view.getUint32(offset + word * 4, true);
}
