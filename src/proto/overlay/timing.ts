import { fraction, type Random } from "../random.ts";

/** The times and bounds of the overlay, each with its reason. */
export const overlayLimits = {
  /** Dials are spread over this, so that a membership list that arrives in pieces does not start dials that the next piece makes pointless. */
  settleMs: 250,
  /**
   * A list of more than a full mesh that has grown by this factor while a dial waited is still arriving: the dial waits for about
   * so long again. With `entries`, 300 that start at once make 2,660 links instead of 5,170, where 1,190 stay, as soon.
   */
  growth: 1.02,
  arrivingMs: 1_000,
  /** How long the higher side waits for the lower one to dial before it asks: the lower one may not know it yet. */
  askAfterMs: 2_000,
  /** How long an asked peer may take before the ask counts as a failed dial: the slowest ladder of dial plans. */
  askPatienceMs: 30_000,
  /** How long a dial may stay unanswered by the driver before it counts as failed; the driver answers earlier. */
  dialPatienceMs: 90_000,
  /** A link that dies younger than this counts as a failed dial. */
  youthMs: 10_000,
  /** A link that nobody here wants any more lives on for this: most views that waver do so for less. */
  graceMs: 30_000,
  /** The same for a link that was never wanted, such as to those who introduced us: as soon as there are others. */
  extraGraceMs: 5_000,
  /** Links that only the peer wants. Beyond, the oldest goes if it is older than `guestMs`, else the newest is refused. */
  guests: 64,
  guestMs: 5_000,
  /** Members of an introduction that are dialed at once: three fail together one time in a thousand if one in ten is dead or out of reach. */
  entries: 3,
  /** How long they have until the others of the introduction are dialed as well: a connection on a busy machine takes less. */
  entryPatienceMs: 5_000,
  /** Dials of members that are not wanted (introduced, down) under way at once; further ones are passed over. */
  tries: 16,
  /** The first ceiling of the back-off. */
  backoffMs: 1_000,
  /** The last one: a pair that never connects costs one dial in two to five minutes. */
  backoffMostMs: 300_000,
  /** Failed dials in a row after which a pair counts as unconnectable and the next neighbour takes its place. */
  failuresToSkip: 3,
} as const;

/** The wait after `failures` failures in a row (1 or more), ms: doubles up to five minutes, spread over its upper half. */
export function dialBackoffMs(failures: number, random: Random): number {
  let ceiling: number = overlayLimits.backoffMs;
  for (let step = 1; step < failures && ceiling < overlayLimits.backoffMostMs; step++) ceiling *= 2;
  ceiling = Math.min(ceiling, overlayLimits.backoffMostMs);
  return ceiling / 2 + (ceiling / 2) * fraction(random);
}
