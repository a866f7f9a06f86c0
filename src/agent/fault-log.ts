import type { Logger } from "../options.ts";
import { RecentMap } from "../proto/bounded.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";

/** Peers and faults whose lines are held back, and for how long each, ms. */
const MAX_QUIET = 256;
const QUIET_MS = 60_000;

/** Counts misbehaviour by name, and says so: of each fault of each peer one line a minute. */
export class FaultLog {
  readonly #counts = new Map<string, number>();
  readonly #quiet = new RecentMap<string, Instant>(MAX_QUIET);
  readonly #log: Logger;
  readonly #now: () => Instant;

  constructor(log: Logger, now: () => Instant) {
    this.#log = log;
    this.#now = now;
  }

  /** Names of faults come from closed sets in this program, so their number is bounded. */
  report(peer: PeerId | undefined, fault: string): void {
    this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + 1);
    const key = `${peer} ${fault}`;
    const now = this.#now();
    if (now < (this.#quiet.get(key) ?? 0)) return;
    this.#quiet.set(key, now + QUIET_MS);
    // Without a culprit it may be an honest peer's late word: nothing to act on.
    if (peer === undefined) this.#log.debug("passed over", { fault });
    else this.#log.warn("a peer misbehaves", { fault, peer });
  }

  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}
