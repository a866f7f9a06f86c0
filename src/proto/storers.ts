import type { Member } from "./membership/table.ts";
import type { PeerId } from "./peer-id.ts";
import type { Storer } from "./replication/placement.ts";

/** The label by which a member says that it keeps nothing for others: `store=no`. */
export const STORE_LABEL = "store";

/** Whether no other member is known, but for those that have left. */
export function isAlone(members: Iterable<Member>, self: PeerId): boolean {
  for (const { record, state } of members) if (record.id !== self && state !== "left") return false;
  return true;
}

/** The members of a list that store: those that are there, and do not say that they do not. */
export function* storersAmong(members: Iterable<Member>): Generator<Storer, void, undefined> {
  for (const { record, state } of members) {
    if (state !== "alive" && state !== "suspect") continue;
    if (record.labels.some(([key, value]) => key === STORE_LABEL && value === "no")) continue;
    yield { id: record.id, capacity: record.capacity };
  }
}
