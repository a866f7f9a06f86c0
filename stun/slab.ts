/**
 * Cuts packets from slabs. Node's own pool is so small that every eightieth packet pays for another, and its buffers take longer to make
 * than plain views: together some 3 % of all that a relayed packet costs.
 */

const SLAB_BYTES = 65_536;
/** A packet as large as this has a buffer of its own, so that little of a slab is wasted. */
const LARGEST_CUT_BYTES = 4_096;
/** Views begin at multiples of this, for the copying to be quick. */
const ALIGNMENT = 8;

/** What is cut is never taken back: a slab goes when its last packet does. */
export class Slab {
  #bytes = new ArrayBuffer(SLAB_BYTES);
  #used = 0;

  /** A packet of `length` bytes, with any content. */
  cut(length: number): Uint8Array {
    if (length > LARGEST_CUT_BYTES) return Buffer.allocUnsafe(length);
    if (this.#used + length > SLAB_BYTES) {
      this.#bytes = new ArrayBuffer(SLAB_BYTES);
      this.#used = 0;
    }
    const packet = new Uint8Array(this.#bytes, this.#used, length);
    this.#used += (length + ALIGNMENT - 1) & -ALIGNMENT;
    return packet;
  }
}
