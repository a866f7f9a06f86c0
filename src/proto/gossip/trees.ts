import { RecentMap } from "../bounded.ts";
import { MAX_SOURCE_TREES, MAX_TREE_NEIGHBOURS } from "./limits.ts";
import { SHARED_TREE } from "./messages.ts";

/** The slot of a neighbour past the bound: in no set, so never eager and never known to have anything. */
export const NO_SLOT = -1;

/** A set of neighbour slots, 0 to 63, in two words. {@link NO_SLOT} is never in it. */
export class SlotSet {
  #low = 0;
  #high = 0;

  has(slot: number): boolean {
    if (slot < 0) return false;
    return slot < 32 ? ((this.#low >>> slot) & 1) === 1 : ((this.#high >>> (slot - 32)) & 1) === 1;
  }

  add(slot: number): void {
    if (slot < 0) return;
    if (slot < 32) this.#low |= 1 << slot;
    else this.#high |= 1 << (slot - 32);
  }

  delete(slot: number): void {
    if (slot < 0) return;
    if (slot < 32) this.#low &= ~(1 << slot);
    else this.#high &= ~(1 << (slot - 32));
  }

  clear(): void {
    this.#low = 0;
    this.#high = 0;
  }

  clone(): SlotSet {
    const copy = new SlotSet();
    copy.#low = this.#low;
    copy.#high = this.#high;
    return copy;
  }
}

/**
 * Which links are lazy in which tree; every other link is eager.
 *
 * One tree that all publishers share has few duplicates, but its paths are up to twice the shortest: it is shaped by
 * whoever published first. So a publisher that publishes often names a tree of its own. It begins as a copy of the shared
 * one, which already has few duplicates, and is then bent towards the publisher's shortest paths. A tree costs two words
 * here; the least recently used is forgotten, and begins again as a copy.
 */
export class Trees {
  readonly #shared = new SlotSet();
  readonly #own = new RecentMap<number, SlotSet>(MAX_SOURCE_TREES);
  /** The tree asked for last: a message asks once per neighbour. */
  #lastTree = SHARED_TREE;
  #last = this.#shared;

  isEager(tree: number, slot: number): boolean {
    return slot >= 0 && slot < MAX_TREE_NEIGHBOURS && !this.#lazy(tree).has(slot);
  }

  setEager(tree: number, slot: number): void {
    this.#lazy(tree).delete(slot);
  }

  setLazy(tree: number, slot: number): void {
    this.#lazy(tree).add(slot);
  }

  /** Every link is eager in the shared tree again: the next duplicates prune it anew. */
  rebuild(): void {
    this.#shared.clear();
  }

  /** A new link takes `slot`: eager everywhere, until it proves redundant. */
  reset(slot: number): void {
    this.#shared.delete(slot);
    for (const [, lazy] of this.#own.entries()) lazy.delete(slot);
  }

  #lazy(tree: number): SlotSet {
    if (tree === this.#lastTree) return this.#last;
    let lazy = tree === SHARED_TREE ? this.#shared : this.#own.get(tree);
    if (lazy === undefined) lazy = this.#shared.clone();
    // Setting it again makes it the most recently used.
    if (tree !== SHARED_TREE) this.#own.set(tree, lazy);
    this.#lastTree = tree;
    this.#last = lazy;
    return lazy;
  }
}
