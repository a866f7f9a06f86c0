import { StarlingError } from "../errors.ts";
import type { DecreeSet } from "../proto/decrees/decree-set.ts";
import type { Membership } from "../proto/membership/membership.ts";
import type { Connections } from "./connections.ts";

/** What an agent ends with whose node key was revoked. */
export function outlawed(stateDirectory: string): StarlingError {
  const message = `this member was revoked, and its key cannot come back; to join again, ask for a new invite and use it with another --state than ${stateDirectory}`;
  return new StarlingError("revoked", message);
}

/** Ends the links of peers whose token is void: the one in their record, else the one that they were admitted with. */
export function expelOutlaws(decrees: DecreeSet, membership: Membership | undefined, connections: Connections): void {
  for (const link of [...connections.links()]) {
    const facts = membership?.member(link.id)?.facts ?? link.peer.token;
    if (decrees.voids(facts)) connections.drop(link.id, "expelled");
  }
}
