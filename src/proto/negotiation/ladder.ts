import { type DialFailure, isUdpBlocked } from "./outcome.ts";
import { checkedLadder, type DialPlan, withStreams } from "./plan.ts";
import { signalLimits } from "./signal.ts";

/**
 * How a dial climbs its ladder of plans.
 *
 * What failed decides. A round that ended in ICE found no path: another one by the same plan would not either, so the next
 * rung comes. A round in which no server answered over UDP leads past every rung that needs UDP. A round that had a path and
 * then hung (signaling, DTLS, the channel) lost a packet at the wrong moment: a fresh connection by the same plan is the cure.
 * On the last rung everything is tried again, up to the rounds of a rung.
 */
export class Climb {
  #ladder: readonly DialPlan[];
  readonly #roundsPerRung: number;
  #at = 0;
  #tries = 1;

  /** @param ladder the plans in their order; at least one. */
  constructor(ladder: readonly DialPlan[], roundsPerRung: number) {
    this.#ladder = checkedLadder(ladder);
    this.#roundsPerRung = roundsPerRung;
  }

  /** The plan of the round under way. */
  get plan(): DialPlan {
    return this.#ladder[this.#at] as DialPlan;
  }

  get #rounds(): number {
    return this.plan.rounds ?? this.#roundsPerRung;
  }

  /** Moves on after a round that failed; false when nothing is left to try. @param next the next round's number. */
  advance(failure: DialFailure, next: number): boolean {
    if (next > signalLimits.rounds) return false;
    const isBlocked = isUdpBlocked(failure) && this.plan.rung !== "direct";
    if (isBlocked) this.#ladder = withStreams(this.#ladder);
    const further = this.#ladder.findIndex((plan, index) => index > this.#at && !(isBlocked && plan.rung === "udp"));
    const isPathless = isBlocked || failure.stage === "ice";
    if (further >= 0 && (isPathless || this.#tries >= this.#rounds)) {
      this.#at = further;
      this.#tries = 1;
      return true;
    }
    return this.#tries++ < this.#rounds;
  }
}
