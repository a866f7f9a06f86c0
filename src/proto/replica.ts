import type { Membership } from "./membership/membership.ts";
import { scopesOf } from "./membership/standing.ts";
import type { MeshOptions } from "./mesh-effects.ts";
import { Replication } from "./replication/replication.ts";
import { isAlone, storersAmong } from "./storers.ts";

/** A member's replica of all buckets, with what it must know of the members: their tokens, what these grant, who stores. */
export function replicaOf({ self, random, restoration }: MeshOptions, membership: Membership): Replication {
  return new Replication({
    self,
    random: random.fork("replication"),
    tokenOf: (member) => membership.member(member)?.record.token,
    scopesOf: (member) => scopesOf(membership, member),
    storers: () => storersAmong(membership.members()),
    isAlone: () => isAlone(membership.members(), self),
    ...(restoration !== undefined && { restoration }),
  });
}
