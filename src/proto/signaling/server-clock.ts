import type { Instant } from "../machine.ts";
import { ClockSkew, type Skew } from "./clock-skew.ts";
import { clientLimits } from "./limits.ts";
import type { ClientMessage } from "./messages.ts";

/** What a client knows of its server's clock on one connection, and its question for the time, which is also a sign of life. */
export class ServerClock {
  readonly #skew = new ClockSkew();
  #reportedMs: number | undefined;
  #question: { readonly id: number; readonly sentAt: Instant } | undefined;
  #patienceMs: number = clientLimits.answerMs;
  #questions = 0;
  #heardAt: Instant = 0;

  /** The server's clock minus ours as it was last reported, ms. */
  get skewMs(): number | undefined {
    return this.#reportedMs;
  }

  /** Whether a question waits for its answer. */
  get isAsked(): boolean {
    return this.#question !== undefined;
  }

  /** When it is to be asked, or has left a question without an answer for too long. Whatever is heard is a sign of life. */
  get deadline(): Instant {
    if (this.#question === undefined) return this.#heardAt + clientLimits.keepaliveMs;
    return Math.max(this.#question.sentAt, this.#heardAt) + this.#patienceMs;
  }

  /** Something has come from the server. */
  heard(now: Instant): void {
    this.#heardAt = now;
  }

  /** The question for its time: whether it lives, and how its clock differs. */
  ask(now: Instant): Extract<ClientMessage, { type: "time" }> {
    const id = ++this.#questions;
    this.#question = { id, sentAt: now };
    this.#patienceMs = clientLimits.answerMs;
    return { type: "time", id };
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
