import type { Instant } from "../machine.ts";
import { ClockSkew, type Skew } from "./clock-skew.ts";
import { clientLimits } from "./limits.ts";

/** What a client knows of its server's clock on one connection, and its question for the time, which is also a sign of life. */
export class ServerClock {
  readonly #skew = new ClockSkew();
  #reportedMs: number | undefined;
  #question: { readonly id: number; readonly sentAt: Instant } | undefined;
  #patienceMs: number = clientLimits.answerMs;

  /** The server's clock minus ours as it was last reported, ms. */
  get skewMs(): number | undefined {
    return this.#reportedMs;
  }

  /** When the question was asked that waits for its answer; undefined when none does. */
  get askedAt(): Instant | undefined {
    return this.#question?.sentAt;
  }

  /** How long the answer may take, ms. */
  get patienceMs(): number {
    return this.#patienceMs;
  }

  ask(id: number, now: Instant): void {
    this.#question = { id, sentAt: now };
    this.#patienceMs = clientLimits.answerMs;
  }

  /** There is reason to doubt that the question arrives: it has less time. */
  hurry(): void {
    this.#patienceMs = clientLimits.doubtMs;
  }

  /** Takes the answer to the question; what is worth a word. Any other answer may be late, and says nothing. */
  answered(id: number, now: Instant, serverTime: Instant): Skew | undefined {
    if (this.#question?.id !== id) return undefined;
    const { sentAt } = this.#question;
    this.#question = undefined;
    return this.measure(sentAt, now, serverTime);
  }

  /** Adds one round trip; the skew, if it is the first or has changed by a step. */
  measure(sentAt: Instant, receivedAt: Instant, serverTime: Instant): Skew | undefined {
    const skew = this.#skew.add(sentAt, receivedAt, serverTime);
    const reported = this.#reportedMs;
    if (reported !== undefined && Math.abs(skew.skewMs - reported) < clientLimits.skewStepMs) return undefined;
    this.#reportedMs = skew.skewMs;
    return skew;
  }
}
