import { earlier } from "../deadlines.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { TURN_ANSWER_MS, TURN_LONGEST_MS, TURN_SPACING_MS } from "./limits.ts";

/**
 * With whom lists are being made equal, and who waits for it: one at a time.
 *
 * A newcomer has eight links within a moment, and each of their peers holds the list that it lacks. Were all compared at once, it would
 * get each record eight times; one after the other, it gets the list once, and the others have nothing to add. Those who
 * wait are taken in the order in which they came, and every other turn is theirs, so that a peer that begins again and again is
 * not all there is.
 */
export class Turn {
  /** Whose turn it is, until when if nothing more is heard, and until when at the most. */
  #partner: { readonly peer: PeerId; until: Instant; readonly longest: Instant } | undefined;
  /** Each waits once; links only, of which there are few. */
  readonly #waiting = new Set<PeerId>();
  /** The next may begin then: what the last one sent is being checked, or a digest of ours may be about to be answered. */
  #freeAt: Instant = Number.NEGATIVE_INFINITY;
  /** With whom we have begun last. */
  #begun: PeerId | undefined;
  /** The last turn was given to somebody who had begun: the next is for those who wait. */
  #owes = false;

  deadline(): Instant | undefined {
    const next = this.#partner?.until;
    return this.#waiting.size > 0 ? earlier(next, next ?? this.#freeAt) : next;
  }

  /** Gives the turn to `peer`, which has begun; false when somebody else is at it, or it is those who wait who come first. */
  grant(peer: PeerId, now: Instant): boolean {
    if (this.#partner === undefined) {
      if (this.#owes && this.#waiting.size > 0) return false;
      this.#owes = true;
    } else if (this.#partner.peer !== peer) return false;
    this.engage(peer, TURN_ANSWER_MS, now);
    return true;
  }

  /** Whether it was we who have begun one with `peer`, a moment ago. */
  isBegun(peer: PeerId, now: Instant): boolean {
    return this.#begun === peer && now < this.#freeAt;
  }

  /** Whether nobody is at it. */
  get isIdle(): boolean {
    return this.#partner === undefined;
  }

  wait(peer: PeerId): void {
    this.#waiting.add(peer);
  }

  /** Something is to come from `peer` within `patienceMs`: it is its turn. False when it is somebody else's. */
  engage(peer: PeerId, patienceMs: number, now: Instant): boolean {
    const partner = this.#partner;
    if (partner === undefined) {
      this.#waiting.delete(peer);
      this.#partner = { peer, until: now + patienceMs, longest: now + TURN_LONGEST_MS };
    } else if (partner.peer === peer) partner.until = Math.min(now + patienceMs, partner.longest);
    else return false;
    return true;
  }

  /** Nothing more is to come from `peer`. */
  end(peer: PeerId, now: Instant): void {
    if (this.#partner?.peer !== peer) return;
    this.#partner = undefined;
    this.#freeAt = now + TURN_SPACING_MS;
  }

  linkDown(peer: PeerId, now: Instant): void {
    this.#waiting.delete(peer);
    this.end(peer, now);
  }

  /** The one to begin with, if it is time. `all`: those who wait need not wait for each other. */
  next(all: boolean, now: Instant): PeerId | undefined {
    if (this.#partner !== undefined && now >= this.#partner.until) this.end(this.#partner.peer, now);
    if (this.#partner !== undefined || (!all && now < this.#freeAt)) return undefined;
    for (const peer of this.#waiting) {
      this.#waiting.delete(peer);
      this.#freeAt = now + TURN_SPACING_MS;
      this.#begun = peer;
      this.#owes = false;
      return peer;
    }
    return undefined;
  }
}
