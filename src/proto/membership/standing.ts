import type { RingSeat } from "../overlay/seat.ts";
import type { PeerId } from "../peer-id.ts";
import type { Membership } from "./membership.ts";

/** What the token of a member grants; undefined: it is none, or its token has expired or is revoked. */
export function scopesOf(membership: Membership, peer: PeerId): readonly string[] | undefined {
  const member = membership.member(peer);
  return member === undefined || member.lapsed ? undefined : member.facts.scopes;
}

/** Where a member sits, or would sit if it came back; undefined as above. */
export function seatOf(membership: Membership, peer: PeerId): RingSeat | undefined {
  const member = membership.member(peer);
  return member === undefined || member.lapsed ? undefined : member.seat;
}
