import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { TokenBucket } from "../token-bucket.ts";
import {
  ANSWER_RATE,
  FRUITLESS_MESSAGES,
  MAX_EMPTY_ANSWERS,
  MAX_FRUITLESS_EXCHANGES,
  MESSAGE_RATE,
  SLICE_COST,
} from "./limits.ts";
import type { Standing } from "./service.ts";

/** Nobody follows it. */
const NEWBORN: Standing = { since: Number.MAX_SAFE_INTEGER, gapFrom: undefined, isAway: false };

/**
 * What is remembered about each linked peer's conduct: how much it has sent and asked, and whether what it promised
 * came.
 *
 * An honest peer now and then lists an entry that is superseded before it is asked for, and an exchange under load
 * may find nothing left to do; only a run of such failures makes a peer a liar. Everything is forgotten with the
 * link.
 */
export class Conduct {
  readonly #messages: TokenBucket;
  readonly #answers: TokenBucket;
  #emptyAnswers = 0;
  #fruitless = 0;
  /** What it has said of itself. */
  standing: Standing = NEWBORN;
  /** Entries that have moved either way in the exchange under way. */
  moved = 0;
  /** Nothing it sends is looked at any more. */
  ignored = false;
  /** Not asked anything before this instant: it said that it is busy. */
  pausedUntil: Instant = 0;

  constructor(now: Instant) {
    this.#messages = new TokenBucket(MESSAGE_RATE, now);
    this.#answers = new TokenBucket(ANSWER_RATE, now);
  }

  /** Counts a message; false when the peer floods. */
  received(cost: number, now: Instant): boolean {
    return this.#messages.spend(cost, MESSAGE_RATE, now) > -MESSAGE_RATE.burst;
  }

  /** Whether its next request is answered. */
  mayAsk(now: Instant): boolean {
    return this.#answers.level(ANSWER_RATE, now) >= 0;
  }

  /** Counts an answer. */
  answered(bytes: number, now: Instant): void {
    this.#answers.spend(1 + bytes / 4_096, ANSWER_RATE, now);
  }

  /** Counts a slice of work that it has caused. */
  worked(now: Instant): void {
    this.#answers.spend(SLICE_COST, ANSWER_RATE, now);
  }

  /** Entries were asked for; `delivered` of them came. False when it has been none for too long. */
  delivered(delivered: number): boolean {
    this.#emptyAnswers = delivered > 0 ? 0 : this.#emptyAnswers + 1;
    return this.#emptyAnswers <= MAX_EMPTY_ANSWERS;
  }

  /** An exchange with it has ended. False when long exchanges have brought nothing to either side for too long. */
  exchanged(messages: number): boolean {
    if (this.moved > 0) this.#fruitless = 0;
    else if (messages >= FRUITLESS_MESSAGES) this.#fruitless++;
    return this.#fruitless <= MAX_FRUITLESS_EXCHANGES;
  }
}

/** The linked peers. */
export class Peers {
  readonly #byId = new Map<PeerId, Conduct>();

  get size(): number {
    return this.#byId.size;
  }

  add(peer: PeerId, now: Instant): void {
    this.#byId.set(peer, new Conduct(now));
  }

  remove(peer: PeerId): void {
    this.#byId.delete(peer);
  }

  conduct(peer: PeerId): Conduct | undefined {
    return this.#byId.get(peer);
  }

  ids(): IterableIterator<PeerId> {
    return this.#byId.keys();
  }

  /** To whom a request may be sent. */
  askable(now: Instant): readonly PeerId[] {
    return [...this.#byId.keys()].filter((peer) => this.mayAsk(peer, now));
  }

  /** Whether a request may be sent to it. */
  mayAsk(peer: PeerId, now: Instant): boolean {
    const conduct = this.#byId.get(peer);
    return conduct !== undefined && !conduct.ignored && conduct.pausedUntil <= now;
  }
}
