import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { overlayLimits } from "./timing.ts";

/**
 * How a member comes in: through a few of those that it was introduced to.
 *
 * Whoever is there holds the whole list, so one link is enough to learn it, and a link that was made before is rarely one of
 * those that the rings ask for. A few are dialed at once. One more is when a dial fails, and all others when no link has come of
 * the first ones in time: servers introduce members that have died a moment ago.
 */
export class Entrance {
  readonly #dialed = new Set<PeerId>();
  readonly #reserve = new Set<PeerId>();
  #until: Instant | undefined;

  /** Until when the first few have time; undefined: nobody is being dialed, or a link has come. */
  get until(): Instant | undefined {
    return this.#until;
  }

  /**
   * Whether `peer`, to whom we have been introduced, is to be dialed at once. If not, it is kept in reserve. One is enough for
   * whoever has links: should the two be of different meshes, that link makes them one.
   */
  admits(peer: PeerId, alone: boolean, now: Instant): boolean {
    if (this.#dialed.has(peer)) return false;
    this.#until ??= now + overlayLimits.entryPatienceMs;
    if (this.#dialed.size < (alone ? overlayLimits.entries : 1)) {
      this.#dialed.add(peer);
      return true;
    }
    if (this.#reserve.size < overlayLimits.tries) this.#reserve.add(peer);
    return false;
  }

  /** A link stands: there is a way in. */
  linked(): void {
    this.#dialed.clear();
    this.#reserve.clear();
    this.#until = undefined;
  }

  /** The dial of `peer` has failed; whom to dial instead, if it was one of ours and there is anybody. */
  failed(peer: PeerId): PeerId | undefined {
    if (!this.#dialed.delete(peer)) return undefined;
    for (const next of this.#reserve) {
      this.#reserve.delete(next);
      this.#dialed.add(next);
      return next;
    }
    if (this.#dialed.size === 0) this.#until = undefined;
    return undefined;
  }

  /** Time is up: everybody who is in reserve, to be dialed. Before that, nobody. */
  expire(now: Instant): readonly PeerId[] {
    if (this.#until === undefined || now < this.#until) return [];
    const others = [...this.#reserve];
    this.linked();
    return others;
  }
}
