import type { Membership } from "../proto/membership/membership.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { Bearings } from "../proto/routing/bearings.ts";
import type { PeerLink } from "./peer-link.ts";

/** Which of an agent's links lead to a member: as routing computes it, and among equals the one of the shortest round trip first. */
export class Ways {
  readonly #membership: Membership;
  readonly #links: () => Iterable<PeerLink>;
  readonly #bearings: Bearings;

  constructor(self: PeerId, membership: Membership, links: () => Iterable<PeerLink>) {
    this.#membership = membership;
    this.#links = links;
    this.#bearings = new Bearings(self, membership.rings);
  }

  /** The peers of our links, the best first; none when `peer` is no member. */
  towards(peer: PeerId): readonly PeerId[] {
    const seat = this.#membership.member(peer)?.seat;
    if (seat === undefined) return [];
    const rtts = new Map<PeerId, number>();
    for (const link of this.#links()) rtts.set(link.id, link.rttMs ?? Number.POSITIVE_INFINITY);
    this.#bearings.setLinks([...rtts.keys()]);
    const rttOf = (id: PeerId): number => rtts.get(id) ?? Number.POSITIVE_INFINITY;
    const bearings = [...this.#bearings.towards(seat)];
    bearings.sort((a, b) => a.distance - b.distance || rttOf(a.peer) - rttOf(b.peer));
    return bearings.map((bearing) => bearing.peer);
  }
}
