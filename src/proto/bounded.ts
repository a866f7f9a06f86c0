import { assert } from "./assert.ts";

/**
 * Collections that cannot grow past a stated bound. What happens at the bound is the name of the class, never a silent
 * surprise: a {@link RecentMap} forgets its oldest entry, a {@link BoundedQueue} refuses.
 */

/** A map that keeps the `capacity` most recently set entries and forgets the oldest beyond. */
export class RecentMap<Key, Value> {
  readonly #entries = new Map<Key, Value>();
  /**
   * Stands where the last forgotten entry was: a fresh iterator would walk over the holes of all that were forgotten since
   * the map was last rehashed, 11 us of a full map of 8,192. It is given up when entries go another way, because an
   * iterator that stands still keeps every table that the map has outgrown.
   */
  #oldest: MapIterator<Key> | undefined;
  readonly capacity: number;

  /** @param capacity at least 1 entry. */
  constructor(capacity: number) {
    assert(capacity >= 1, "a RecentMap holds at least one entry");
    this.capacity = capacity;
  }

  get size(): number {
    return this.#entries.size;
  }

  has(key: Key): boolean {
    return this.#entries.has(key);
  }

  get(key: Key): Value | undefined {
    return this.#entries.get(key);
  }

  /** Sets an entry and makes it the newest; returns the key that was forgotten to make room, if any. */
  set(key: Key, value: Value): Key | undefined {
    if (this.#entries.delete(key)) this.#oldest = undefined;
    this.#entries.set(key, value);
    if (this.#entries.size <= this.capacity) return undefined;
    this.#oldest ??= this.#entries.keys();
    const oldest = this.#oldest.next();
    if (oldest.done) return undefined;
    this.#entries.delete(oldest.value);
    return oldest.value;
  }

  delete(key: Key): boolean {
    this.#oldest = undefined;
    return this.#entries.delete(key);
  }

  /** Oldest first. */
  entries(): IterableIterator<[Key, Value]> {
    return this.#entries.entries();
  }
}

/** A first-in first-out queue that refuses items past its capacity. Amortised O(1) at both ends. */
export class BoundedQueue<T> {
  #items: (T | undefined)[] = [];
  #head = 0;
  readonly capacity: number;

  constructor(capacity: number) {
    assert(capacity >= 1, "a BoundedQueue holds at least one item");
    this.capacity = capacity;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  /** Appends `item`; false, and nothing changed, when the queue is full. */
  push(item: T): boolean {
    if (this.length >= this.capacity) return false;
    this.#items.push(item);
    return true;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
