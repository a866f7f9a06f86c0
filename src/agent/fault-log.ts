import type { AuditLog } from "../audit.ts";
import type { Logger } from "../options.ts";
import { RecentMap } from "../proto/bounded.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";

/** Peers and faults whose lines are held back, and for how long each, ms. */
const MAX_QUIET = 256;
const QUIET_MS = 60_000;

/** What a fault of admission begins with; its reason follows. */
const ADMISSION = "admission-";

/** Counts misbehaviour by name, and says so: of each fault of each peer one line a minute. */
export class FaultLog {
  readonly #counts = new Map<string, number>();
  readonly #quiet = new RecentMap<string, Instant>(MAX_QUIET);
  readonly #audit: AuditLog;
  readonly #log: Logger;
  readonly #now: () => Instant;

  constructor({ audit, log, now }: { readonly audit: AuditLog; readonly log: Logger; readonly now: () => Instant }) {
    this.#audit = audit;
    this.#log = log;
    this.#now = now;
  }

  /** Names of faults come from closed sets in this program, so their number is bounded. */
  report(peer: PeerId | undefined, fault: string): void {
    this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + 1);
    if (peer !== undefined) this.#denied(peer, fault);
    const key = `${peer} ${fault}`;
    const now = this.#now();
    if (now < (this.#quiet.get(key) ?? 0)) return;
    this.#quiet.set(key, now + QUIET_MS);
    // Without a culprit it may be an honest peer's late word: nothing to act on.
    if (peer === undefined) this.#log.debug("passed over", { fault });
    else this.#log.warn("a peer misbehaves", { fault, peer });
  }

  /** Some faults are attempts at what is not allowed. */
  #denied(actor: PeerId, fault: string): void {
    const reason = fault.startsWith(ADMISSION) ? fault.slice(ADMISSION.length) : undefined;
    if (reason !== undefined) this.#audit.record({ action: "link.admit", actor, outcome: "denied", reason });
    else if (fault === "stream-forbidden")
      this.#audit.record({ action: "stream.open", actor, outcome: "denied", reason: "scope" });
  }

  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}
