import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { DialPlan, Rung } from "./plan.ts";

/**
 * What one agent remembers of its dials, so that the next one begins where the last one ended: the rung that linked each peer, and
 * whether UDP is blocked for this agent itself. Both are forgotten in time, because networks change; a dial that begins high up
 * comes to the rungs below last, so nothing remembered can keep two peers apart.
 */

/** Peers remembered: all that an agent is linked with at a time, many times over. The one dialed longest ago is forgotten. */
const MAX_PEERS = 1_024;
/** How long a peer's rung is begun with, ms: as long as people usually stay in one place. */
const PEER_MS = 3_600_000;
/** How long our own UDP is held to be blocked, ms: one dial a minute finds out again. */
const BLOCKED_MS = 60_000;

export class RungMemory {
  readonly #peers = new RecentMap<PeerId, { readonly rung: Rung; readonly until: Instant }>(MAX_PEERS);
  #blockedUntil = Number.NEGATIVE_INFINITY;

  /** A dial with `peer` has linked on `rung`. */
  linked(peer: PeerId, rung: Rung, now: Instant): void {
    const isOverUdp = rung === "udp" || rung === "direct";
    this.#peers.set(peer, { rung: isOverUdp ? "udp" : rung, until: now + PEER_MS });
    if (isOverUdp) this.#blockedUntil = Number.NEGATIVE_INFINITY;
  }

  /** No server answered us over UDP. */
  blocked(now: Instant): void {
    this.#blockedUntil = now + BLOCKED_MS;
  }

  /** This agent's addresses have changed: nothing that was learned holds any more. */
  moved(): void {
    for (const [peer] of [...this.#peers.entries()]) this.#peers.delete(peer);
    this.#blockedUntil = Number.NEGATIVE_INFINITY;
  }

  /** Whether UDP is held to be blocked for us. */
  isBlocked(now: Instant): boolean {
    return now < this.#blockedUntil;
  }

  /** `ladder` from the rung that is likely to work; the rungs before it come last. */
  order(peer: PeerId, ladder: readonly DialPlan[], now: Instant): readonly DialPlan[] {
    const known = this.#peers.get(peer);
    const learned = known !== undefined && now < known.until ? ladder.findIndex(({ rung }) => rung === known.rung) : 0;
    const passable = this.isBlocked(now) ? ladder.findIndex(({ rung }) => rung !== "udp") : 0;
    const from = Math.max(learned, passable, 0);
    return from === 0 ? ladder : [...ladder.slice(from), ...ladder.slice(0, from)];
  }
}
