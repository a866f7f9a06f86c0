import type { Instant } from "../machine.ts";
import type { CandidatePair } from "../negotiation/rtc.ts";

/**
 * What this machine's own network tells of its links before any time-out does: addresses come and go, and a machine that
 * wakes has been silent for longer than its peers bear.
 *
 * A link whose own end is an address of this machine is stranded when that address goes. Of one behind a NAT or a relay the
 * stacks do not tell which address it starts from, so it counts as stranded when any address goes. A change of the router's
 * address shows here in nothing: that is left to heartbeats.
 */
export class Surroundings {
  #addresses: ReadonlySet<string> | undefined;
  #at: Instant = 0;

  /** Takes a look at the addresses of this machine, loopback included. What has changed since the last look. */
  look(addresses: Iterable<string>, now: Instant): Change {
    const before = this.#addresses;
    const current = new Set(addresses);
    const woke = before !== undefined && now - this.#at > LOOK_MS + SLEEP_MS;
    this.#addresses = current;
    this.#at = now;
    const gone = before === undefined ? [] : [...before].filter((address) => !current.has(address));
    const came = before === undefined ? [] : [...current].filter((address) => !before.has(address));
    return { woke, moved: gone.length + came.length > 0, lost: gone.length > 0, current };
  }
}

/** What one look has found. */
export interface Change {
  /** The machine slept since the look before. */
  readonly woke: boolean;
  /** Addresses have come or gone. */
  readonly moved: boolean;
  /** Addresses have gone. */
  readonly lost: boolean;
  readonly current: ReadonlySet<string>;
}

/** Whether a link over `pair` (undefined: its stack does not tell) has lost its own end. */
export function isStranded(pair: CandidatePair | undefined, { moved, lost, current }: Change): boolean {
  if (pair?.local.kind !== "host") return lost;
  const { address } = pair.local;
  const host = address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  return moved && !current.has(host);
}

/** Between two looks: with the making of a connection well within the six seconds that a stream may stand still. */
export const LOOK_MS = 2_000;

/** A look so late means a sleep; no event loop of ours is blocked for so long. */
const SLEEP_MS = 5_000;
