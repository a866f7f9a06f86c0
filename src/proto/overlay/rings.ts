import type { PeerId } from "../peer-id.ts";
import { Atlas } from "./atlas.ts";
import type { RingSeat } from "./seat.ts";

/**
 * The rings of one member's view: who follows whom, among everybody who counts as there (alive or suspect).
 *
 * The order of all seats is the atlas's, found by bisection in about 14 comparisons at 10,000 members; a view adds one byte
 * for each, and a step passes over whoever is not there. Membership owns the rings and changes them; everybody else
 * reads {@link RingView}.
 */
export interface RingView {
  /** Members in the rings, oneself included. */
  readonly size: number;
  /** Rises with every change. */
  readonly version: number;
  has(id: PeerId): boolean;
  /** The seat of a member that is in the rings. */
  seat(id: PeerId): RingSeat | undefined;
  /** All members that are in the rings, in no order that means anything. */
  ids(): IterableIterator<PeerId>;
  /**
   * The member `steps` places clockwise of `from` (negative: anticlockwise), which itself need not be in the rings.
   * Undefined when there are not that many others.
   */
  step(ring: number, from: RingSeat, steps: number): PeerId | undefined;
}

export class Rings implements RingView {
  readonly #atlas: Atlas;
  /** By number in the atlas: 1 for the members that are in these rings. */
  #there = new Uint8Array(64);
  #size = 0;
  #version = 0;

  /** @param atlas shared with other views, or this one's own. */
  constructor(atlas = new Atlas()) {
    this.#atlas = atlas;
  }

  get size(): number {
    return this.#size;
  }

  get version(): number {
    return this.#version;
  }

  has(id: PeerId): boolean {
    return this.#numberOf(id) >= 0;
  }

  seat(id: PeerId): RingSeat | undefined {
    const number = this.#numberOf(id);
    return number < 0 ? undefined : this.#atlas.seat(number);
  }

  *ids(): IterableIterator<PeerId> {
    for (let number = 0; number < this.#there.length; number++) {
      if (this.#there[number] === 1) yield this.#atlas.seat(number).id;
    }
  }

  /** Seats a member; moves it when its seat has changed. False when it sat there already. */
  insert(seat: RingSeat): boolean {
    const old = this.#numberOf(seat.id);
    const number = this.#atlas.hold(seat);
    if (number === old) {
      this.#atlas.release(number);
      return false;
    }
    if (old >= 0) this.#takeOut(old);
    if (number >= this.#there.length) this.#there = grown(this.#there, this.#atlas.size);
    this.#there[number] = 1;
    this.#size++;
    this.#version++;
    return true;
  }

  /** Takes a member out; false when it was not in. */
  remove(id: PeerId): boolean {
    const number = this.#numberOf(id);
    if (number < 0) return false;
    this.#takeOut(number);
    this.#version++;
    return true;
  }

  /** Everybody in `rings`, which share our atlas, is in these too, where only oneself has been so far. */
  copy(rings: Rings): void {
    const self = this.#atlas.seat(this.#there.indexOf(1)).id;
    const seat = rings.seat(self);
    if (seat !== undefined) this.insert(seat);
    if (rings.#there.length > this.#there.length) this.#there = grown(this.#there, this.#atlas.size);
    for (let number = 0; number < rings.#there.length; number++) {
      if (rings.#there[number] !== 1 || this.#there[number] === 1) continue;
      this.#atlas.share(number);
      this.#there[number] = 1;
      this.#size++;
    }
    this.#version++;
  }

  step(ring: number, from: RingSeat, steps: number): PeerId | undefined {
    const others = this.#size - (this.has(from.id) ? 1 : 0);
    let left = Math.abs(steps);
    if (left > others || left === 0) return undefined;
    const atlas = this.#atlas;
    const count = atlas.count;
    const direction = steps > 0 ? 1 : -1;
    let place = atlas.placeOf(ring, from);
    if (direction < 0) place--;
    for (;;) {
      if (place === count) place = 0;
      else if (place < 0) place = count - 1;
      const number = atlas.at(ring, place);
      place += direction;
      if (this.#there[number] !== 1) continue;
      const { id } = atlas.seat(number);
      if (id !== from.id && --left === 0) return id;
    }
  }

  #numberOf(id: PeerId): number {
    let number = this.#atlas.find(id);
    while (number >= 0 && this.#there[number] !== 1) number = this.#atlas.other(number);
    return number;
  }

  #takeOut(number: number): void {
    this.#there[number] = 0;
    this.#size--;
    this.#atlas.release(number);
  }
}

/** A larger array with the same beginning: room for `size`, and for a quarter more. */
function grown(array: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(size + (size >> 2));
  larger.set(array);
  return larger;
}
