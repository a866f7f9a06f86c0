import type { EventHeap } from "./event-heap.ts";

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Rare things that happen once: the end of a dial, a fault, an answer of the signaling server. One source of the heap. */
export class Agenda {
  readonly #heap: EventHeap;
  readonly #source: number;
  /** Latest first, so that the next one is popped from the end. */
  readonly #entries: Entry[] = [];
  #order = 0;

  constructor(heap: EventHeap, source: number) {
    this.#heap = heap;
    this.#source = source;
  }

  /** Runs `run` at `at`; what is added first for one instant runs first. */
  add(at: number, run: () => void): void {
    const entry = { at, order: this.#order++, run };
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#entries[middle] as Entry).at > at) low = middle + 1;
      else high = middle;
    }
    this.#entries.splice(low, 0, entry);
    this.#schedule();
  }

  /** Runs the next entry. */
  due(): void {
    const entry = this.#entries.pop();
    this.#schedule();
    entry?.run();
  }

  #schedule(): void {
    const next = this.#entries.at(-1);
    if (next === undefined) this.#heap.clear(this.#source);
    else this.#heap.set(this.#source, next.at);
  }
}
