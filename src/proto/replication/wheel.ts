import type { Instant } from "../machine.ts";

/**
 * Deadlines for very many things at a coarse resolution: items are kept in slots of time and come due with their
 * slot, at most one slot late and never early. Adding and removing are O(1); the next deadline costs a look at each
 * slot in use, and only after the earliest one has emptied.
 */
export class Wheel<T> {
  readonly #slots = new Map<number, Set<T>>();
  readonly #slotMs: number;
  #earliest: number | undefined;
  #stale = false;

  /** @param slotMs width of a slot. */
  constructor(slotMs: number) {
    this.#slotMs = slotMs;
  }

  #slot(at: Instant): number {
    return Math.ceil(at / this.#slotMs);
  }

  /** Adds `item`, due at `at`. */
  add(at: Instant, item: T): void {
    const slot = this.#slot(at);
    const items = this.#slots.get(slot);
    if (items !== undefined) items.add(item);
    else this.#slots.set(slot, new Set([item]));
    if (!this.#stale && (this.#earliest === undefined || slot < this.#earliest)) this.#earliest = slot;
  }

  /** Removes `item`, which was added with the same `at`. */
  remove(at: Instant, item: T): void {
    const slot = this.#slot(at);
    const items = this.#slots.get(slot);
    if (items === undefined || !items.delete(item) || items.size > 0) return;
    this.#slots.delete(slot);
    if (slot === this.#earliest) this.#stale = true;
  }

  /** When the earliest item is due; undefined when there is none. */
  next(): Instant | undefined {
    if (this.#stale) {
      this.#stale = false;
      this.#earliest = undefined;
      for (const slot of this.#slots.keys()) {
        if (this.#earliest === undefined || slot < this.#earliest) this.#earliest = slot;
      }
    }
    return this.#earliest === undefined ? undefined : this.#earliest * this.#slotMs;
  }

  /** Removes and returns an item that is due at `now`; undefined when none is. */
  take(now: Instant): T | undefined {
    const next = this.next();
    if (next === undefined || next > now) return undefined;
    const slot = this.#earliest as number;
    for (const item of this.#slots.get(slot) ?? []) {
      this.remove(next, item);
      return item;
    }
    return undefined;
  }
}
