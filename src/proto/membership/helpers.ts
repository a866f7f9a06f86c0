import { observersOf, wantedLinks } from "../overlay/neighbours.ts";
import type { PeerId } from "../peer-id.ts";
import { shuffle } from "../random.ts";
import type { Context } from "./context.ts";
import { HELPERS } from "./limits.ts";
import { isThere } from "./table.ts";

/**
 * Who is asked for an indirect probe of `target`: up to three of our own links, drawn among those that the rings say are
 * linked with it, else among its observers, who may be linked with it all the same, else among all. Even one that has no
 * link is of use: its answer shows that our silence is not our own.
 */
export function helpersFor({ table, links, random }: Context, target: PeerId): readonly PeerId[] {
  const seat = table.get(target)?.seat;
  if (seat === undefined) return [];
  const isHelper = (id: PeerId): boolean => {
    const state = table.stateOf(id);
    return id !== target && links.has(id) && (state === undefined || isThere(state));
  };
  let able = [...wantedLinks(table.rings, seat)].filter(isHelper);
  if (able.length === 0) able = [...observersOf(table.rings, seat)].filter(isHelper);
  if (able.length === 0) for (const { peer } of links.all()) if (isHelper(peer)) able.push(peer);
  return shuffle(random, able).slice(0, HELPERS);
}
