import { utf8 } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { mix32 } from "../reconcile/mixing.ts";
import { MAX_COPIES, REPLACE_AFTER_MS } from "./limits.ts";

/**
 * Which members hold a key of a bucket with a fixed number of copies.
 *
 * Keys fall by the first byte of their hash into 256 slots, and for each slot the members that store are ranked by rendezvous hashing
 * (Thaler and Ravishankar, 1998): each draws numbers by hashing its name with the slot's, as many as its weight, and the largest
 * is its rank. The first N are the replicas. Everybody who knows the same members computes the same; a member that comes or goes moves
 * only what it gains or had. The ranking is the same for all buckets, so one member's loss concerns the same slots in each.
 *
 * A member that is gone keeps its place for two seconds more: a hiccup moves nothing.
 */

/** A member that stores. */
export interface Storer {
  readonly id: PeerId;
  /** As in its record: 100 is an ordinary member. */
  readonly capacity: number;
}

/** The slot of a key's place in the tree. */
export function slotOf(path: number): number {
  return path >>> 24;
}

/** How many slots there are: the ranges of two hex digits. */
export const SLOTS = 256;

/** Draws of an ordinary member, and the most of any: a member of 16 times its capacity gets no more than 4 times its share. */
const CAPACITY_PER_DRAW = 25;
const MAX_DRAWS = 16;

interface Seat {
  readonly id: PeerId;
  readonly seed: number;
  readonly draws: number;
}

/** What has become of the ranking: the same as before; a member has come, or has another weight; one has gone, so that copies are missing. */
export type PlacementChange = "none" | "arrival" | "loss";

/** The ranking of the members that store. */
export class Placement {
  readonly #gone = new Map<PeerId, Instant>();
  #seats = new Map<PeerId, Seat>();
  #ranked: (readonly PeerId[] | undefined)[] = [];

  /** Members that are placed on. */
  get size(): number {
    return this.#seats.size;
  }

  /** The first `copies` members for a slot, fewer if there are fewer. */
  replicas(slot: number, copies: number): readonly PeerId[] {
    const ranked = this.#ranked[slot] ?? this.#rank(slot);
    this.#ranked[slot] = ranked;
    return ranked.slice(0, copies);
  }

  #rank(slot: number): readonly PeerId[] {
    const best: { readonly id: PeerId; readonly score: number }[] = [];
    for (const { id, seed, draws } of this.#seats.values()) {
      const score = scoreOf(seed, draws, slot);
      let at = best.length;
      while (at > 0 && isAbove(score, id, best[at - 1] as { id: PeerId; score: number })) at--;
      if (at === MAX_COPIES) continue;
      best.splice(at, 0, { id, score });
      if (best.length > MAX_COPIES) best.pop();
    }
    return best.map(({ id }) => id);
  }

  /** Takes the members that store as of now. */
  update(storers: Iterable<Storer>, now: Instant): PlacementChange {
    const seats = new Map<PeerId, Seat>();
    let change: PlacementChange = "none";
    for (const { id, capacity } of storers) {
      const known = this.#seats.get(id);
      const draws = Math.max(1, Math.min(MAX_DRAWS, Math.round(capacity / CAPACITY_PER_DRAW)));
      seats.set(id, known?.draws === draws ? known : { id, seed: known?.seed ?? seedOf(id), draws });
      if (known?.draws !== draws) change = "arrival";
      this.#gone.delete(id);
    }
    for (const [id, seat] of this.#seats) {
      if (seats.has(id)) continue;
      const until = this.#gone.get(id) ?? now + REPLACE_AFTER_MS;
      if (until > now) {
        this.#gone.set(id, until);
        seats.set(id, seat);
      } else {
        this.#gone.delete(id);
        change = "loss";
      }
    }
    this.#seats = seats;
    if (change !== "none") this.#ranked = [];
    return change;
  }

  /** When a member that is gone loses its place: {@link update} is due. */
  deadline(): Instant | undefined {
    let earliest: Instant | undefined;
    for (const until of this.#gone.values()) if (earliest === undefined || until < earliest) earliest = until;
    return earliest;
  }
}

function isAbove(score: number, id: PeerId, other: { readonly id: PeerId; readonly score: number }): boolean {
  return score > other.score || (score === other.score && id > other.id);
}

function scoreOf(seed: number, draws: number, slot: number): number {
  let score = 0;
  const base = mix32(seed ^ Math.imul(slot + 1, 0x9e3779b1));
  for (let draw = 1; draw <= draws; draw++) score = Math.max(score, mix32(base + Math.imul(draw, 0x85ebca77)) >>> 0);
  return score;
}

function seedOf(id: PeerId): number {
  const hash = sha256(utf8(`starling/placement/1 ${id}`));
  return ((hash[0] as number) << 24) | ((hash[1] as number) << 16) | ((hash[2] as number) << 8) | (hash[3] as number);
}
