import type { PeerId } from "../peer-id.ts";
import { below, type Random } from "../random.ts";

/**
 * The order in which a member probes: round-robin over its targets, each put in at a random place (SWIM, section 4.3), so
 * that no target waits longer than one round and no two members probe in step. Unlike SWIM's, a round is not shuffled
 * again: with about eight probers for each member, fixed phases give the shortest longest gap.
 */
export class Rotation {
  readonly #random: Random;
  #order: PeerId[] = [];
  #next = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get size(): number {
    return this.#order.length;
  }

  /** Makes `targets` the members that are probed; those that stay keep their places. */
  update(targets: ReadonlySet<PeerId>): void {
    const kept: PeerId[] = [];
    let next = 0;
    this.#order.forEach((peer, index) => {
      if (!targets.has(peer)) return;
      if (index < this.#next) next++;
      kept.push(peer);
    });
    const known = new Set(kept);
    this.#order = kept;
    this.#next = next;
    for (const peer of targets) {
      if (known.has(peer)) continue;
      const place = below(this.#random, this.#order.length + 1);
      this.#order.splice(place, 0, peer);
      if (place < this.#next) this.#next++;
    }
  }

  /** The next target; undefined when there is none. */
  next(): PeerId | undefined {
    if (this.#order.length === 0) return undefined;
    if (this.#next >= this.#order.length) this.#next = 0;
    return this.#order[this.#next++];
  }
}
