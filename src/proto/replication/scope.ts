import type { PeerId } from "../peer-id.ts";
import { type Placement, SLOTS, slotOf } from "./placement.ts";
import type { Store } from "./store.ts";
import { addSum, emptySum, type Sum } from "./sum.ts";
import type { Slots, Versions } from "./versions.ts";

/**
 * What two replicas have in common, and so compare: of a bucket that everybody has, all of it; of one with a fixed number of copies, the slots
 * of which both are replicas. Two members with the same policies and the same list of members agree about it; where they do not for a
 * while, they compare in vain for as long.
 */
export class Scope {
  readonly #self: PeerId;
  readonly #store: Store;
  readonly #placement: Placement;

  constructor(self: PeerId, store: Store, placement: Placement) {
    this.#self = self;
    this.#store = store;
    this.#placement = placement;
  }

  /** The replicas of a key by its place; undefined: every member. */
  replicas(bucket: string, path: number): readonly PeerId[] | undefined {
    const { replicas } = this.#store.policy(bucket);
    return replicas === "all" ? undefined : this.#placement.replicas(slotOf(path), replicas);
  }

  /** Whether this member is a replica of the key. */
  isMine(bucket: string, path: number): boolean {
    return this.replicas(bucket, path)?.includes(this.#self) ?? true;
  }

  /** The slots of a bucket that both have; undefined: all of it. */
  shared(bucket: string, peer: PeerId): Slots | undefined {
    const { replicas } = this.#store.policy(bucket);
    if (replicas === "all") return undefined;
    const slots = new Uint8Array(SLOTS);
    for (let slot = 0; slot < SLOTS; slot++) {
      const holders = this.#placement.replicas(slot, replicas);
      if (holders.includes(this.#self) && holders.includes(peer)) slots[slot] = 1;
    }
    return slots;
  }

  /** The sum of what both have of a bucket. */
  sum(bucket: string, versions: Versions | undefined, peer: PeerId): Sum {
    if (versions === undefined) return emptySum();
    const slots = this.shared(bucket, peer);
    if (slots === undefined) return versions.sum;
    const sum = emptySum();
    versions.slotSums().forEach((slotSum, slot) => {
      if (slots[slot] === 1) addSum(sum, slotSum);
    });
    return sum;
  }

  /** The sum of what both have of all buckets. */
  total(peer: PeerId): Sum {
    const total = emptySum();
    for (const { name, versions } of this.#store.buckets()) addSum(total, this.sum(name, versions, peer));
    return total;
  }
}
