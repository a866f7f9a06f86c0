import type { Instant } from "../../src/proto/machine.ts";

/** What an item in {@link Alarms} carries: its place in the heap, so that arming one of 20,000 costs no look-up. */
export interface Alarmed {
  /** Kept by {@link Alarms}; -1 while not armed. */
  alarmIndex: number;
  /** Kept by {@link Alarms}. */
  alarmAt: Instant;
}

/**
 * One alarm for each of many connections: a binary heap whose items know their place. Arming, moving and disarming cost
 * O(log n), and the earliest is at the top. `Deadlines` scans all slots when the earliest one moves, which is right for a
 * handful; a server's earliest alarm moves with every message.
 */
export class Alarms<T extends Alarmed> {
  readonly #heap: T[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** When the earliest alarm is due; undefined when none is armed. */
  next(): Instant | undefined {
    return this.#heap[0]?.alarmAt;
  }

  /** Arms `item` or moves its alarm. */
  set(item: T, at: Instant): void {
    item.alarmAt = at;
    if (item.alarmIndex < 0) {
      item.alarmIndex = this.#heap.length;
      this.#heap.push(item);
    }
    this.#settle(item);
  }

  /** Disarms `item`, if it is armed. */
  clear(item: T): void {
    const index = item.alarmIndex;
    if (index < 0) return;
    item.alarmIndex = -1;
    const last = this.#heap.pop() as T;
    if (last === item) return;
    last.alarmIndex = index;
    this.#heap[index] = last;
    this.#settle(last);
  }

  /** Disarms and returns the item whose alarm is the earliest, if that is due at `now`. */
  take(now: Instant): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.alarmAt > now) return undefined;
    this.clear(first);
    return first;
  }

  /** Moves `item` up or down to where its alarm belongs. */
  #settle(item: T): void {
    const heap = this.#heap;
    let index = item.alarmIndex;
    while (index > 0) {
      const above = heap[(index - 1) >> 1] as T;
      if (above.alarmAt <= item.alarmAt) break;
      heap[index] = above;
      above.alarmIndex = index;
      index = (index - 1) >> 1;
    }
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && right.alarmAt < (heap[child] as T).alarmAt) child++;
      const below = heap[child] as T;
      if (below.alarmAt >= item.alarmAt) break;
      heap[index] = below;
      below.alarmIndex = index;
      index = child;
    }
    heap[index] = item;
    item.alarmIndex = index;
  }
}
