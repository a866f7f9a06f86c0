import type { Instant } from "./machine.ts";

/**
 * Deadlines by name instead of timers: a machine keeps one slot for each thing it waits for, reports the earliest as its
 * own deadline, and on a time-out takes those that are due, earliest first.
 *
 * The minimum is cached and recomputed only after the slot that held it changes, so `next` is O(1) between changes.
 */
export class Deadlines<Name> {
  readonly #slots = new Map<Name, Instant>();
  #earliest: Instant | undefined;
  #stale = false;

  /** How many slots are armed. */
  get size(): number {
    return this.#slots.size;
  }

  /** Arms or moves the slot `name`. */
  set(name: Name, at: Instant): void {
    this.clear(name);
    this.#slots.set(name, at);
    if (!this.#stale && (this.#earliest === undefined || at < this.#earliest)) this.#earliest = at;
  }

  /** Disarms the slot `name`, if it is armed. */
  clear(name: Name): void {
    const at = this.#slots.get(name);
    if (at === undefined) return;
    this.#slots.delete(name);
    if (at === this.#earliest) this.#stale = true;
  }

  /** When the slot `name` is due; undefined when it is not armed. */
  at(name: Name): Instant | undefined {
    return this.#slots.get(name);
  }

  /** The earliest armed instant; undefined when no slot is armed. */
  next(): Instant | undefined {
    if (this.#stale) {
      this.#stale = false;
      this.#earliest = undefined;
      for (const at of this.#slots.values()) {
        if (this.#earliest === undefined || at < this.#earliest) this.#earliest = at;
      }
    }
    return this.#earliest;
  }

  /** Disarms and returns the earliest slot that is due at `now`; undefined when none is. */
  take(now: Instant): Name | undefined {
    const next = this.next();
    if (next === undefined || next > now) return undefined;
    for (const [name, at] of this.#slots) {
      if (at === next) {
        this.clear(name);
        return name;
      }
    }
    return undefined;
  }
}

/** The earlier of two deadlines, either of which may be absent. */
export function earlier(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  return a < b ? a : b;
}
