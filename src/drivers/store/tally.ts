import { equalBytes } from "../../proto/bytes.ts";
import { hmac, sha256 } from "../../proto/hash.ts";
import { HEAD_BYTES, KEY_ID_BYTES } from "./envelope.ts";

/**
 * The tally: what a store must hold, so that a row that is missing, or is an older version of itself, is found out.
 *
 * Envelopes prove that a row is genuine, not that it is there and the newest. So each transaction also writes a *mark*: the number
 * of commits so far, how many rows there are, their bytes, and the sum of their nonces. A nonce is unique to one version of one
 * row, so two different sets of rows have the same sum by no accident. The mark carries a MAC under a key of the ring: whoever can
 * write the files cannot put an old row back and mend the sum. Putting the whole store back as it was is beyond it; the
 * `head` file beside the store, which says the number of the last acknowledged commit, tells when only part was put back.
 *
 *     mark   key id (4), commits (8), rows (8), bytes (8), sum (16), MAC (16)
 */

const SUM_AT = 1 + KEY_ID_BYTES;
const LANES = 4;
const MAC_BYTES = 16;
const BODY_BYTES = KEY_ID_BYTES + 24 + LANES * 4;
export const MARK_BYTES = BODY_BYTES + MAC_BYTES;

/** What makes marks: a key's id and its mark key, 4 and 32 bytes. */
export interface MarkKey {
  readonly id: Uint8Array;
  readonly markKey: Uint8Array;
}

/** HMAC-SHA256. */
export type Mac = (key: Uint8Array, data: Uint8Array) => Uint8Array;

/** Numbers of one state of the store. */
export class Tally {
  /** Transactions so far; the number of the latest. */
  commits = 0;
  rows = 0;
  /** Of envelopes. */
  bytes = 0;
  readonly #sum = new Uint32Array(LANES);

  /** Counts a row in. `head` is the beginning of its envelope. */
  add(head: Uint8Array, envelopeBytes: number): void {
    this.rows++;
    this.bytes += envelopeBytes;
    for (let lane = 0; lane < LANES; lane++) this.#sum[lane] = (this.#sum[lane] as number) + laneOf(head, lane);
  }

  /** Counts a row out. */
  remove(head: Uint8Array, envelopeBytes: number): void {
    this.rows--;
    this.bytes -= envelopeBytes;
    for (let lane = 0; lane < LANES; lane++) this.#sum[lane] = (this.#sum[lane] as number) - laneOf(head, lane);
  }

  copy(): Tally {
    const copy = new Tally();
    copy.commits = this.commits;
    copy.rows = this.rows;
    copy.bytes = this.bytes;
    copy.#sum.set(this.#sum);
    return copy;
  }

  /** Whether both count the same rows in the same versions. */
  hasSameRows(other: Tally): boolean {
    return this.rows === other.rows && this.bytes === other.bytes && this.#sum.every((v, i) => v === other.#sum[i]);
  }

  /** The mark that goes into the store. */
  encode({ id, markKey }: MarkKey, mac: Mac = portableMac): Uint8Array {
    const mark = new Uint8Array(MARK_BYTES);
    const view = new DataView(mark.buffer);
    mark.set(id, 0);
    for (const [index, value] of [this.commits, this.rows, this.bytes].entries()) {
      view.setUint32(KEY_ID_BYTES + index * 8, Math.floor(value / 4_294_967_296));
      view.setUint32(KEY_ID_BYTES + index * 8 + 4, value % 4_294_967_296);
    }
    for (let lane = 0; lane < LANES; lane++) view.setUint32(KEY_ID_BYTES + 24 + lane * 4, this.#sum[lane] as number);
    mark.set(mac(markKey, mark.subarray(0, BODY_BYTES)).subarray(0, MAC_BYTES), BODY_BYTES);
    return mark;
  }

  /** The numbers in a mark; undefined when it is not one. Its MAC is not looked at: see {@link isGenuineMark}. */
  static decode(mark: Uint8Array): Tally | undefined {
    if (mark.length !== MARK_BYTES) return undefined;
    const view = new DataView(mark.buffer, mark.byteOffset);
    const number = (index: number): number =>
      view.getUint32(KEY_ID_BYTES + index * 8) * 4_294_967_296 + view.getUint32(KEY_ID_BYTES + index * 8 + 4);
    const tally = new Tally();
    tally.commits = number(0);
    tally.rows = number(1);
    tally.bytes = number(2);
    if (![tally.commits, tally.rows, tally.bytes].every(Number.isSafeInteger)) return undefined;
    for (let lane = 0; lane < LANES; lane++) tally.#sum[lane] = view.getUint32(KEY_ID_BYTES + 24 + lane * 4);
    return tally;
  }
}

/** The id of the key under which a mark was made. */
export function keyIdOfMark(mark: Uint8Array): Uint8Array {
  return mark.subarray(0, KEY_ID_BYTES);
}

/** Whether a mark was made with this key and not altered. */
export function isGenuineMark(mark: Uint8Array, { markKey }: MarkKey, mac: Mac = portableMac): boolean {
  const expected = mac(markKey, mark.subarray(0, BODY_BYTES)).subarray(0, MAC_BYTES);
  return mark.length === MARK_BYTES && equalBytes(expected, mark.subarray(BODY_BYTES));
}

function portableMac(key: Uint8Array, data: Uint8Array): Uint8Array {
  return hmac(sha256, key, data);
}

// The lane of the sum in which 4 bytes of the nonce are added, modulo 2^32.
function laneOf(head: Uint8Array, lane: number): number {
  const at = SUM_AT + lane * 4;
  return (
    ((head[at] as number) << 24) |
    ((head[at + 1] as number) << 16) |
    ((head[at + 2] as number) << 8) |
    (head[at + 3] as number)
  );
}

/** What stands before an envelope is enough to count it. */
export function headOf(envelope: Uint8Array): Uint8Array {
  return envelope.subarray(0, HEAD_BYTES);
}
