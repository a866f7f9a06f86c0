/**
 * The world's event queue: a binary heap of *sources* (a node's deadline, the head of a link's queue), each with at most
 * one pending instant. Moving a source is O(log n) in place, so no stale entry is ever popped, and nothing is allocated.
 *
 * Sources that are due at the same instant come out in the order in which they were set: the order of a run depends on
 * nothing but its inputs.
 */
export class EventHeap {
  /** Sources, heap-ordered. */
  #heap = new Int32Array(64);
  #size = 0;
  /** By source: when, in which order, and where in the heap (-1: nowhere). */
  #at = new Float64Array(64);
  #order = new Float64Array(64);
  #place = new Int32Array(64).fill(-1);
  #sequence = 0;

  /** How many sources have an instant. */
  get size(): number {
    return this.#size;
  }

  /** The earliest instant; infinite when there is none. */
  next(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#at[this.#heap[0] as number] as number);
  }

  /** When `source` is due; infinite when it is not. */
  at(source: number): number {
    return source < this.#place.length && this.#place[source] !== -1
      ? (this.#at[source] as number)
      : Number.POSITIVE_INFINITY;
  }

  /** Makes `source` (an integer from 0 up) due at `at`, instead of whenever it was due before. */
  set(source: number, at: number): void {
    if (source >= this.#place.length) this.#grow(source + 1);
    let place = this.#place[source] as number;
    if (place === -1) {
      place = this.#size++;
      this.#heap[place] = source;
      this.#place[source] = place;
    }
    this.#at[source] = at;
    this.#order[source] = this.#sequence++;
    this.#down(this.#up(place));
  }

  /** Makes `source` not due at all. */
  clear(source: number): void {
    if (source >= this.#place.length) return;
    const place = this.#place[source] as number;
    if (place === -1) return;
    this.#place[source] = -1;
    const last = this.#heap[--this.#size] as number;
    if (last === source) return;
    this.#heap[place] = last;
    this.#place[last] = place;
    this.#down(this.#up(place));
  }

  /** Takes out the earliest source; -1 when there is none. */
  pop(): number {
    if (this.#size === 0) return -1;
    const source = this.#heap[0] as number;
    this.clear(source);
    return source;
  }

  #before(a: number, b: number): boolean {
    const difference = (this.#at[a] as number) - (this.#at[b] as number);
    return difference < 0 || (difference === 0 && (this.#order[a] as number) < (this.#order[b] as number));
  }

  #up(from: number): number {
    const heap = this.#heap;
    const source = heap[from] as number;
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent] as number;
      if (!this.#before(source, above)) break;
      heap[place] = above;
      this.#place[above] = place;
      place = parent;
    }
    heap[place] = source;
    this.#place[source] = place;
    return place;
  }

  #down(from: number): void {
    const heap = this.#heap;
    const source = heap[from] as number;
    let place = from;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#before(heap[child + 1] as number, heap[child] as number)) child++;
      const below = heap[child] as number;
      if (!this.#before(below, source)) break;
      heap[place] = below;
      this.#place[below] = place;
      place = child;
    }
    heap[place] = source;
    this.#place[source] = place;
  }

  #grow(least: number): void {
    const length = Math.max(least, this.#place.length * 2);
    const place = new Int32Array(length).fill(-1);
    place.set(this.#place);
    this.#place = place;
    this.#heap = enlarged(this.#heap, new Int32Array(length));
    this.#at = enlarged(this.#at, new Float64Array(length));
    this.#order = enlarged(this.#order, new Float64Array(length));
  }
}

function enlarged<T extends Int32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
