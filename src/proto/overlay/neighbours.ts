import type { PeerId } from "../peer-id.ts";
import type { RingView } from "./rings.ts";
import { RING_SIZE, RINGS, type RingSeat } from "./seat.ts";

/**
 * Who is whose neighbour: pure functions of the rings, so that everybody can compute everybody's.
 *
 * Two relations come from the rings. *Links* join a member with its successor and predecessor in each ring, or with
 * everybody while the cluster is small. *Observers* of a member are its two nearest successors and predecessors in each
 * ring: twice as many as its links, so that a member whose links all died with a neighbourhood still has somebody who may
 * accuse it. Both relations are symmetric.
 */
export const neighbourLimits = {
  /** Up to this many members, oneself included, everybody links to everybody: 16 links each, as many as observers. */
  fullMesh: 17,
  /** Members that a skipping walk passes over in one direction before it gives up: nobody fails to connect with more. */
  skips: 16,
  /** How near in a ring an observer sits. */
  reach: 2,
  /** Members of unsettled standing that are not counted between an observer and the accused: the churn of 30 s round one place. */
  passedOver: 8,
} as const;

/** Whether a member may be linked to; undefined: everybody may. */
export type Connectable = (id: PeerId) => boolean;

/**
 * The members that `self` wants links to. A member for whom `connectable` says no is passed over for the next one in the
 * same direction; in a full mesh it is simply left out. At most 16.
 */
export function wantedLinks(rings: RingView, self: RingSeat, connectable?: Connectable): Set<PeerId> {
  const wanted = new Set<PeerId>();
  if (rings.size <= neighbourLimits.fullMesh) {
    for (const id of rings.ids()) if (id !== self.id && (connectable?.(id) ?? true)) wanted.add(id);
    return wanted;
  }
  for (let ring = 0; ring < RINGS; ring++) {
    for (const direction of DIRECTIONS) {
      for (let step = 1; step <= neighbourLimits.skips; step++) {
        const id = rings.step(ring, self, direction * step);
        if (id === undefined) break;
        if (connectable !== undefined && !connectable(id)) continue;
        wanted.add(id);
        break;
      }
    }
  }
  return wanted;
}

/** How far it is from `self` to its successor and to its predecessor in each ring, one after the other. */
export function gapsRound(rings: RingView, self: RingSeat): Float64Array {
  const gaps = new Float64Array(2 * RINGS).fill(RING_SIZE);
  for (let ring = 0; ring < RINGS; ring++) {
    for (const [side, direction] of DIRECTIONS.entries()) {
      const id = rings.step(ring, self, direction);
      if (id !== undefined) gaps[2 * ring + side] = distanceOf(ring, direction, self, rings.seat(id) as RingSeat);
    }
  }
  return gaps;
}

/** Whether `seat` is as near to `self`, in some ring and direction, as its neighbour there was when the gaps were taken. */
export function isWithin(gaps: Float64Array, self: RingSeat, seat: RingSeat): boolean {
  for (let ring = 0; ring < RINGS; ring++) {
    for (const [side, direction] of DIRECTIONS.entries())
      if (distanceOf(ring, direction, self, seat) <= (gaps[2 * ring + side] as number)) return true;
  }
  return false;
}

/** The members that may accuse `subject`: at most 16. */
export function observersOf(rings: RingView, subject: RingSeat): Set<PeerId> {
  const observers = new Set<PeerId>();
  for (let ring = 0; ring < RINGS; ring++) {
    for (const direction of DIRECTIONS) {
      for (let step = 1; step <= neighbourLimits.reach; step++) {
        const id = rings.step(ring, subject, direction * step);
        if (id !== undefined) observers.add(id);
      }
    }
  }
  return observers;
}

/**
 * Whether `observer` is one of the observers of `subject`, without building the set. Members for whom `unsettled` says
 * yes do not count as sitting between the two, up to eight in a row: with members that have come or may be going, that
 * accepts what was right in a view that is a little older or newer than ours. `observer` need not be in the rings.
 */
export function observes(
  rings: RingView,
  observer: RingSeat,
  subject: RingSeat,
  unsettled?: (id: PeerId) => boolean,
): boolean {
  if (observer.id === subject.id) return false;
  for (let ring = 0; ring < RINGS; ring++) {
    for (const direction of DIRECTIONS) {
      if (isWithinReach(rings, ring, direction, observer, subject, unsettled)) return true;
    }
  }
  return false;
}

function isWithinReach(
  rings: RingView,
  ring: number,
  direction: 1 | -1,
  observer: RingSeat,
  subject: RingSeat,
  unsettled: ((id: PeerId) => boolean) | undefined,
): boolean {
  const absent = !rings.has(observer.id);
  const distance = distanceOf(ring, direction, subject, observer);
  let counted = 0;
  let passed = 0;
  for (let step = 1; ; step++) {
    const id = rings.step(ring, subject, direction * step);
    // Past the last other member: nobody is left between the two.
    if (id === undefined || id === observer.id) return true;
    if (absent && distanceOf(ring, direction, subject, rings.seat(id) as RingSeat) >= distance) return true;
    if (unsettled?.(id) === true && passed < neighbourLimits.passedOver) passed++;
    else if (++counted >= neighbourLimits.reach) return false;
  }
}

/** How far `to` is from `from`, going round in `direction`. */
function distanceOf(ring: number, direction: 1 | -1, from: RingSeat, to: RingSeat): number {
  const difference = ((to.positions[ring] as number) - (from.positions[ring] as number)) * direction;
  return difference >= 0 ? difference : difference + RING_SIZE;
}

const DIRECTIONS = [1, -1] as const;
