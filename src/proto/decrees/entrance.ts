import type { Instant } from "../machine.ts";
import type { Lane } from "../streams/lanes.ts";
import { TokenBucket } from "../token-bucket.ts";
import { MAX_HELD_BYTES, MAX_HELD_MESSAGES, OPEN_LIMIT_MS, QUESTION_RATE } from "./limits.ts";

/** A message of a peer whose link is not open yet. */
export interface HeldMessage {
  readonly lane: Lane;
  readonly bytes: Uint8Array;
}

/** What a peer has said that it holds. */
export interface Stand {
  readonly epoch: number;
  readonly commitment: Uint8Array;
}

/**
 * A link from the point of view of decrees: closed to everything else until both sides have compared, and have told each other
 * what the other lacked. What the peer says meanwhile waits, within bounds.
 */
export class Entrance {
  readonly rttMs: number;
  readonly openBy: Instant;
  isOpen = false;
  stand: Stand | undefined;
  /** Parts that we have asked it for and that it has not told in full. */
  readonly asked = new Set<number>();
  /** The commitment for which we have asked its secrets. */
  wanted: Uint8Array | undefined;
  #held: HeldMessage[] = [];
  #heldBytes = 0;
  readonly #questions: TokenBucket;

  constructor(rttMs: number, now: Instant) {
    this.rttMs = rttMs;
    this.openBy = now + OPEN_LIMIT_MS;
    this.#questions = new TokenBucket(QUESTION_RATE, now);
  }

  /** Whether it may put another question. */
  admits(now: Instant): boolean {
    return this.#questions.spend(1, QUESTION_RATE, now) >= 0;
  }

  /** Keeps what the peer says for later; false when it says too much. */
  hold(message: HeldMessage): boolean {
    this.#heldBytes += message.bytes.length;
    this.#held.push(message);
    return this.#heldBytes <= MAX_HELD_BYTES && this.#held.length <= MAX_HELD_MESSAGES;
  }

  /** Opens it, and gives what has waited. */
  open(): readonly HeldMessage[] {
    const held = this.#held;
    this.#held = [];
    this.isOpen = true;
    return held;
  }
}
