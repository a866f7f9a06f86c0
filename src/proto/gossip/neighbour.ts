import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { type Rate, TokenBucket } from "../token-bucket.ts";
import {
  NEIGHBOUR_BYTE_BURST,
  NEIGHBOUR_BYTES_PER_S,
  NEIGHBOUR_MESSAGE_BURST,
  NEIGHBOUR_MESSAGES_PER_S,
  OWN_SHARE_OF_RATE,
} from "./limits.ts";

const MESSAGES_IN: Rate = { perSecond: NEIGHBOUR_MESSAGES_PER_S, burst: NEIGHBOUR_MESSAGE_BURST };
const BYTES_IN: Rate = { perSecond: NEIGHBOUR_BYTES_PER_S, burst: NEIGHBOUR_BYTE_BURST };
const MESSAGES_OUT: Rate = shareOf(MESSAGES_IN);
const BYTES_OUT: Rate = shareOf(BYTES_IN);

/** A flood is reported once in this time, so that it cannot flood the log as well. */
const FLOOD_REPORT_MS = 1_000;

/**
 * One link as broadcast sees it, with the rates in both directions. Both sides run the same code: what this side may not
 * send, the other would not accept, so payloads past the rate are announced instead and pulled as fast as they are wanted.
 */
export class Neighbour {
  readonly peer: PeerId;
  /** The place of this link in every `SlotSet`; -1 when all places are taken. */
  readonly slot: number;
  rttMs: number;
  /** False once the link is down: what still refers to it must not wait for it. */
  up = true;
  /** Ids that it announced and that have not arrived. */
  owed = 0;
  readonly #messagesIn: TokenBucket;
  readonly #bytesIn: TokenBucket;
  readonly #messagesOut: TokenBucket;
  readonly #bytesOut: TokenBucket;
  #floodReportedAt = Number.NEGATIVE_INFINITY;

  constructor(peer: PeerId, slot: number, rttMs: number, now: Instant) {
    this.peer = peer;
    this.slot = slot;
    this.rttMs = rttMs;
    this.#messagesIn = new TokenBucket(MESSAGES_IN, now);
    this.#bytesIn = new TokenBucket(BYTES_IN, now);
    this.#messagesOut = new TokenBucket(MESSAGES_OUT, now);
    this.#bytesOut = new TokenBucket(BYTES_OUT, now);
  }

  /** Counts a received message; false when it exceeds the rate and is to be ignored. */
  admits(bytes: number, now: Instant): boolean {
    const messages = this.#messagesIn.spend(1, MESSAGES_IN, now);
    return this.#bytesIn.spend(bytes, BYTES_IN, now) >= 0 && messages >= 0;
  }

  /** Whether a payload may be pushed now; counts it if so. */
  mayPush(bytes: number, now: Instant): boolean {
    if (this.#messagesOut.level(MESSAGES_OUT, now) < 1 || this.#bytesOut.level(BYTES_OUT, now) < bytes) return false;
    this.count(bytes, now);
    return true;
  }

  /** Counts a message that is sent whatever the rate: announcements, grafts, prunes. */
  count(bytes: number, now: Instant): void {
    this.#messagesOut.spend(1, MESSAGES_OUT, now);
    this.#bytesOut.spend(bytes, BYTES_OUT, now);
  }

  /** Whether a flood is to be reported now, rather than having been a moment ago. */
  reportsFlood(now: Instant): boolean {
    if (now - this.#floodReportedAt < FLOOD_REPORT_MS) return false;
    this.#floodReportedAt = now;
    return true;
  }
}

function shareOf(rate: Rate): Rate {
  return { perSecond: rate.perSecond * OWN_SHARE_OF_RATE, burst: rate.burst * OWN_SHARE_OF_RATE };
}
