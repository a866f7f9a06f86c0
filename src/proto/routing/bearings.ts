import { RecentMap } from "../bounded.ts";
import { wantedLinks } from "../overlay/neighbours.ts";
import type { RingView } from "../overlay/rings.ts";
import type { RingSeat } from "../overlay/seat.ts";
import type { PeerId } from "../peer-id.ts";
import { FAR_RADIUS, MAX_EXPANSIONS, MAX_RANKED_LINKS, MAX_RANKINGS, NEAR_RADIUS } from "./limits.ts";

/** One of our links, and how many links lie between its peer and the destination as far as the rings tell. */
export interface Bearing {
  readonly peer: PeerId;
  readonly distance: number;
}

/** The distance of a link that no search has found: behind all that were found. */
export const UNKNOWN_DISTANCE = 255;

/**
 * Which of our links leads to a member: shortest paths on the computed graph, in which everybody is linked with its
 * successor and predecessor in each ring (or with everybody, while the cluster is small).
 *
 * A search from both ends: two steps out from the peers of our links, kept for as long as rings and links stay the same, and
 * up to four steps out from the destination, until the two meet, and one step more, so that the second best links are known
 * as well. At 10,000 members, whose diameter is 6, that looks at the neighbours of about 130 members instead of all; nothing
 * is kept per member. The computed graph is a guess about the real one: links are missing and others have been made instead.
 * Who meets a gap goes round it (`routing.ts`).
 */
export class Bearings {
  readonly #self: PeerId;
  readonly #rings: RingView;
  #version = -1;
  #links: readonly PeerId[] = [];
  /** Members round the peers of our links: how many steps from them, and from which of them, as `depth << 24 | bits`. */
  #near: Map<PeerId, number> | undefined;
  readonly #rankings = new RecentMap<PeerId, readonly Bearing[]>(MAX_RANKINGS);

  constructor(self: PeerId, rings: RingView) {
    this.#self = self;
    this.#rings = rings;
  }

  /** Our links are these from here on; those beyond 24 are not compared. */
  setLinks(links: readonly PeerId[]): void {
    this.#links = links;
    this.rest();
  }

  /** Forgets what can be computed again. */
  rest(): void {
    this.#near = undefined;
    for (const [peer] of this.#rankings.entries()) this.#rankings.delete(peer);
  }

  /** Our links, the nearest to `destination` first. `destination` need not be in the rings. */
  towards(destination: RingSeat): readonly Bearing[] {
    if (this.#version !== this.#rings.version) {
      this.#version = this.#rings.version;
      this.rest();
    }
    let ranking = this.#rankings.get(destination.id);
    if (ranking === undefined) {
      ranking = this.#search(destination);
      this.#rankings.set(destination.id, ranking);
    }
    return ranking;
  }

  #search(destination: RingSeat): readonly Bearing[] {
    this.#near ??= this.#surroundings();
    const distances = new Uint8Array(this.#links.length).fill(UNKNOWN_DISTANCE);
    const seen = new Set<PeerId>([destination.id]);
    let frontier: PeerId[] = [destination.id];
    let found = UNKNOWN_DISTANCE;
    let budget = MAX_EXPANSIONS;
    for (let steps = 0; steps <= FAR_RADIUS && steps <= found + 1; steps++) {
      for (const id of frontier) {
        const near = this.#near.get(id);
        if (near === undefined) continue;
        const distance = (near >>> DEPTH_SHIFT) + steps;
        if (found === UNKNOWN_DISTANCE) found = steps;
        markAll(distances, near & LINK_BITS, distance);
      }
      const next: PeerId[] = [];
      for (const id of frontier) {
        if (budget-- <= 0 || steps === FAR_RADIUS) break;
        const seat = id === destination.id ? destination : this.#rings.seat(id);
        if (seat === undefined) continue;
        for (const other of wantedLinks(this.#rings, seat)) {
          if (other === this.#self || seen.has(other)) continue;
          seen.add(other);
          next.push(other);
        }
      }
      frontier = next;
    }
    const bearings = this.#links.map((peer, index) => ({ peer, distance: distances[index] ?? UNKNOWN_DISTANCE }));
    return bearings.sort((a, b) => a.distance - b.distance);
  }

  #surroundings(): Map<PeerId, number> {
    const near = new Map<PeerId, number>();
    const ranked = Math.min(this.#links.length, MAX_RANKED_LINKS);
    let frontier: PeerId[] = [];
    for (let index = 0; index < ranked; index++) {
      const id = this.#links[index] as PeerId;
      near.set(id, 1 << index);
      frontier.push(id);
    }
    for (let depth = 1; depth <= NEAR_RADIUS; depth++) {
      const next: PeerId[] = [];
      for (const id of frontier) {
        const seat = this.#rings.seat(id);
        if (seat === undefined) continue;
        const bits = (near.get(id) as number) & LINK_BITS;
        for (const other of wantedLinks(this.#rings, seat)) {
          const known = near.get(other);
          if (other === this.#self || (known !== undefined && known >>> DEPTH_SHIFT < depth)) continue;
          if (known === undefined) next.push(other);
          near.set(other, (depth << DEPTH_SHIFT) | ((known ?? 0) & LINK_BITS) | bits);
        }
      }
      frontier = next;
    }
    return near;
  }
}

const DEPTH_SHIFT = 24;
const LINK_BITS = 0xff_ffff;

function markAll(distances: Uint8Array, bits: number, distance: number): void {
  for (let index = 0; bits !== 0; index++, bits >>>= 1) {
    if ((bits & 1) === 1 && distance < (distances[index] as number)) distances[index] = distance;
  }
}
