import { type Instant, type Machine, NOTHING } from "../machine.ts";
import { fraction, type Random } from "../random.ts";

/**
 * Messages on their way to a webhook, one at a time and in order: a failed delivery is tried again with capped exponential back-off and
 * jitter, and given up after a number of attempts, or at once where the receiver says that the message itself is at fault. The
 * queue is bounded; what does not fit is dropped and counted, the newest first, since what began the trouble is at its front.
 */
export const outboxLimits = {
  /** Messages that wait, the one under way included: hours of an operator's attention. */
  queued: 64,
  attempts: 8,
  /** The ceiling of the first wait, and of the longest, ms: with eight attempts a receiver may be away for ten minutes. */
  firstWaitMs: 2_000,
  longestWaitMs: 300_000,
} as const;

export type OutboxInput<Message> =
  | { readonly type: "message"; readonly message: Message }
  | { readonly type: "delivered" }
  /** `final`: it was heard and refused, and would be again. */
  | { readonly type: "failed"; readonly final: boolean }
  | { readonly type: "timeout" };

export type OutboxOutput<Message> =
  /** Deliver it; `attempt` counts from 1. */
  | { readonly type: "deliver"; readonly message: Message; readonly attempt: number }
  /** It is gone: there was no room, or nobody took it. */
  | { readonly type: "dropped"; readonly message: Message; readonly reason: "full" | "refused" | "unreachable" };

export class Outbox<Message> implements Machine<OutboxInput<Message>, OutboxOutput<Message>> {
  readonly #random: Random;
  readonly #queue: Message[] = [];
  /** Deliveries of the first message that were begun. */
  #attempt = 0;
  #waitUntil: Instant | undefined;

  /** @param random for jitter only. */
  constructor(random: Random) {
    this.#random = random;
  }

  deadline(): Instant | undefined {
    return this.#waitUntil;
  }

  handle(input: OutboxInput<Message>, now: Instant): readonly OutboxOutput<Message>[] {
    switch (input.type) {
      case "message":
        if (this.#queue.length >= outboxLimits.queued)
          return [{ type: "dropped", message: input.message, reason: "full" }];
        this.#queue.push(input.message);
        return this.#queue.length === 1 ? this.#deliver() : NOTHING;
      case "delivered":
        return this.#next();
      case "failed":
        return this.#failed(input.final, now);
      case "timeout":
        if (this.#waitUntil === undefined || now < this.#waitUntil) return NOTHING;
        return this.#deliver();
    }
  }

  #failed(final: boolean, now: Instant): readonly OutboxOutput<Message>[] {
    const [message] = this.#queue;
    if (message === undefined) return NOTHING;
    if (final || this.#attempt >= outboxLimits.attempts)
      return [{ type: "dropped", message, reason: final ? "refused" : "unreachable" }, ...this.#next()];
    const ceiling = Math.min(outboxLimits.longestWaitMs, outboxLimits.firstWaitMs << (2 * (this.#attempt - 1)));
    this.#waitUntil = now + ceiling / 2 + (ceiling / 2) * fraction(this.#random);
    return NOTHING;
  }

  #next(): readonly OutboxOutput<Message>[] {
    this.#queue.shift();
    this.#attempt = 0;
    return this.#queue.length > 0 ? this.#deliver() : NOTHING;
  }

  #deliver(): readonly OutboxOutput<Message>[] {
    this.#waitUntil = undefined;
    const [message] = this.#queue;
    return message === undefined ? NOTHING : [{ type: "deliver", message, attempt: ++this.#attempt }];
  }
}
