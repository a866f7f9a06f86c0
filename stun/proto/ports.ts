import { assert } from "../../src/proto/assert.ts";
import { below, type Random } from "../../src/proto/random.ts";
import type { PortWish } from "./events.ts";

/**
 * The ports of one relay address: which are taken, and which one to try next. Ports are drawn at random, so that nobody can tell
 * one client's from another's (RFC 8656, section 7.2; RFC 6056).
 */
export class Ports {
  readonly #first: number;
  readonly #taken: Uint8Array;
  readonly #random: Random;
  #free: number;

  /** @param first, last the range, both included. */
  constructor(first: number, last: number, random: Random) {
    assert(first >= 1 && last <= 65_535 && first <= last, "a port range lies within 1 and 65535");
    this.#first = first;
    this.#taken = new Uint8Array(last - first + 1);
    this.#free = last - first + 1;
    this.#random = random;
  }

  /** How many are free. */
  get free(): number {
    return this.#free;
  }

  /** Takes a port that fits the wish, with `even-and-next` the next one too; undefined when there is none. */
  take(wish: PortWish): number | undefined {
    if (this.#free === 0) return undefined;
    const size = this.#taken.length;
    const start = below(this.#random, size);
    for (let step = 0; step < size; step++) {
      const index = (start + step) % size;
      if (!this.#fits(index, wish)) continue;
      this.#mark(index);
      if (wish === "even-and-next") this.#mark(index + 1);
      return this.#first + index;
    }
    return undefined;
  }

  /** Gives a port back. */
  give(port: number): void {
    const index = port - this.#first;
    if (this.#taken[index] !== 1) return;
    this.#taken[index] = 0;
    this.#free++;
  }

  #fits(index: number, wish: PortWish): boolean {
    if (this.#taken[index] !== 0) return false;
    if (wish === "any") return true;
    if (((this.#first + index) & 1) === 1) return false;
    return wish === "even" || this.#taken[index + 1] === 0;
  }

  #mark(index: number): void {
    this.#taken[index] = 1;
    this.#free--;
  }
}
