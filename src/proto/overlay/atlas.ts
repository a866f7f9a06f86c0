import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { RINGS, type RingSeat } from "./seat.ts";

/**
 * All seats that any view of this process knows, numbered, and in their order in each ring.
 *
 * A view of the rings (`rings.ts`) says of each number whether its member is there; the order is the same for everybody
 * and so is kept once. An agent has one view. A simulation has thousands, and what 10,000 members have in common would
 * otherwise be kept and sorted 10,000 times.
 *
 * Numbers are small and dense, so that whoever keeps something for each member can keep it in arrays. They are given
 * again when nobody holds them any more.
 */
export class Atlas {
  readonly #seats: (RingSeat | undefined)[] = [];
  /** By id: one seat, or several if its place has changed. */
  readonly #byId = new Chains<PeerId>();
  readonly #byPrefix = new Chains<number>();
  /** By number: how many views hold it. */
  readonly #holders: number[] = [];
  readonly #free: number[] = [];
  readonly #rings: readonly Ring[] = Array.from({ length: RINGS }, () => new Ring());

  /** All numbers are below this. */
  get size(): number {
    return this.#seats.length;
  }

  /** How many seats there are. */
  get count(): number {
    return this.#seats.length - this.#free.length;
  }

  /** The object that stands for this seat here, if it is held; else `seat` itself. */
  shared(seat: RingSeat): RingSeat {
    const number = this.#numberOf(seat);
    return number < 0 ? seat : this.seat(number);
  }

  /** The number of `seat`, which is held until it has been released as often. */
  hold(seat: RingSeat): number {
    let number = this.#numberOf(seat);
    if (number < 0) number = this.#take(seat);
    this.share(number);
    return number;
  }

  /** One view more holds a number that is held. */
  share(number: number): void {
    this.#holders[number] = (this.#holders[number] as number) + 1;
  }

  release(number: number): void {
    const holders = (this.#holders[number] as number) - 1;
    this.#holders[number] = holders;
    if (holders === 0) this.#drop(number);
  }

  /** The number of a member's seat; -1: it has none. There may be {@link other} ones. */
  find(id: PeerId): number {
    return this.#byId.first(id);
  }

  /** The next seat of the same member; -1: there is none. */
  other(number: number): number {
    return this.#byId.next(number);
  }

  /** The number of a seat whose member's key begins with these 32 bits (see {@link prefixOf}); -1: there is none. */
  findPrefix(prefix: number): number {
    return this.#byPrefix.first(prefix);
  }

  /** The next seat under the same 32 bits; -1: there is none. */
  otherPrefix(number: number): number {
    return this.#byPrefix.next(number);
  }

  /** The seat of a number that is held. */
  seat(number: number): RingSeat {
    return this.#seats[number] as RingSeat;
  }

  /** Where in a ring the first seat stands that is not before `seat`: 0 to `count`. */
  placeOf(ring: number, seat: RingSeat): number {
    return (this.#rings[ring] as Ring).placeOf(seat.positions[ring] as number, seat.id, this.#seats);
  }

  /** The number that stands at `place` of a ring, 0 to `count` - 1. */
  at(ring: number, place: number): number {
    return (this.#rings[ring] as Ring).order[place] as number;
  }

  #numberOf(seat: RingSeat): number {
    let number = this.find(seat.id);
    while (number >= 0 && !isSame(this.#seats[number] as RingSeat, seat)) number = this.other(number);
    return number;
  }

  #take(seat: RingSeat): number {
    const number = this.#free.pop() ?? this.#seats.length;
    this.#seats[number] = seat;
    this.#holders[number] = 0;
    this.#byId.add(seat.id, number);
    this.#byPrefix.add(prefixOf(publicKeyOf(seat.id)), number);
    this.#rings.forEach((ring, index) => {
      ring.insert(this.placeOf(index, seat), seat.positions[index] as number, number);
    });
    return number;
  }

  #drop(number: number): void {
    const { id } = this.seat(number);
    const places = this.#rings.map((_, ring) => this.placeOf(ring, this.seat(number)));
    this.#rings.forEach((ring, index) => {
      ring.remove(places[index] as number);
    });
    this.#byId.remove(id, number);
    this.#byPrefix.remove(prefixOf(publicKeyOf(id)), number);
    this.#seats[number] = undefined;
    this.#free.push(number);
  }
}

/** The first 32 bits of a key: enough to tell most members apart. */
export function prefixOf(key: Uint8Array): number {
  const high = ((key[0] as number) << 24) | ((key[1] as number) << 16);
  return (high | ((key[2] as number) << 8) | (key[3] as number)) >>> 0;
}

/** Numbers by a key that most have for themselves: those that share one hang on each other as a list, the last one first. */
class Chains<Key> {
  readonly #latest = new Map<Key, number>();
  readonly #others: number[] = [];

  /** -1: none. */
  first(key: Key): number {
    return this.#latest.get(key) ?? -1;
  }

  next(number: number): number {
    return this.#others[number] as number;
  }

  add(key: Key, number: number): void {
    this.#others[number] = this.first(key);
    this.#latest.set(key, number);
  }

  remove(key: Key, number: number): void {
    const next = this.next(number);
    let before = this.first(key);
    if (before !== number) {
      while (this.next(before) !== number) before = this.next(before);
      this.#others[before] = next;
    } else if (next < 0) this.#latest.delete(key);
    else this.#latest.set(key, next);
  }
}

/** One ring: positions in ascending order, and whose they are. */
class Ring {
  #positions = new Float64Array(64);
  order = new Int32Array(64);
  #length = 0;

  placeOf(position: number, id: PeerId, seats: readonly (RingSeat | undefined)[]): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#positions[middle] as number) < position) low = middle + 1;
      else high = middle;
    }
    // Members at one position are in the order of their ids.
    while (low < this.#length && this.#positions[low] === position) {
      if ((seats[this.order[low] as number] as RingSeat).id >= id) break;
      low++;
    }
    return low;
  }

  insert(place: number, position: number, number: number): void {
    if (this.#length === this.order.length) {
      const positions = new Float64Array(2 * this.#length);
      const order = new Int32Array(2 * this.#length);
      positions.set(this.#positions);
      order.set(this.order);
      this.#positions = positions;
      this.order = order;
    }
    this.#positions.copyWithin(place + 1, place, this.#length);
    this.order.copyWithin(place + 1, place, this.#length);
    this.#positions[place] = position;
    this.order[place] = number;
    this.#length++;
  }

  remove(place: number): void {
    this.#positions.copyWithin(place, place + 1, this.#length);
    this.order.copyWithin(place, place + 1, this.#length);
    this.#length--;
  }
}

function isSame(a: RingSeat, b: RingSeat): boolean {
  if (a === b) return true;
  for (let ring = 0; ring < RINGS; ring++) if (a.positions[ring] !== b.positions[ring]) return false;
  return true;
}
