import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { RoundTrip } from "../streams/round-trip.ts";
import { TokenBucket } from "../token-bucket.ts";
import {
  ANSWER_RATE,
  PROBE_TIMEOUT_LEAST_MS,
  PROBE_TIMEOUT_MOST_MS,
  REFUTATION_STALL_MS,
  REFUTATION_WINDOW_MS,
  REQUEST_RATE,
  STALL_EVIDENCE_MS,
  STALL_MEMORY_MS,
  STALL_MS,
  STALLS_APART_MS,
  UNSHOWN_MS,
  WARM_UP_MS,
} from "./limits.ts";

import type { MemberRecord } from "./record.ts";

/**
 * The links as probing sees them, and the time-outs that follow from what they show.
 *
 * A link is reliable: a lost packet shows as a stall of a second or more (SCTP's smallest retransmission time-out),
 * during which everything behind it waits too. While no stall has been seen, a probe that takes much longer than the
 * round trip means trouble. Once stalls are seen, silence below one stall means nothing, and a refutation may take two.
 *
 * A stall seen while we ran late ourselves is our own, and one on a new link comes of all that a new link sets going. One
 * peer's stall may be its own, and what happens once happens on any machine; a second peer's, some seconds later, is the
 * network's, and makes us patient with everybody. A new link counts as one that stalls: it has not shown itself.
 */
export class Links {
  readonly #links = new Map<PeerId, Link>();
  /** The first stall in a minute, and its peer. */
  #stalledAt: Instant = Number.NEGATIVE_INFINITY;
  #stalledPeer: PeerId | undefined;
  /** The last one that was the network's. */
  #networkStalledAt: Instant = Number.NEGATIVE_INFINITY;
  #ranLateAt: Instant = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.#links.size;
  }

  has(peer: PeerId): boolean {
    return this.#links.has(peer);
  }

  of(peer: PeerId): Link | undefined {
    return this.#links.get(peer);
  }

  all(): IterableIterator<Link> {
    return this.#links.values();
  }

  /** Opens a link, or replaces the one that there was. */
  open(peer: PeerId, rttMs: number, now: Instant): Link {
    const link = new Link(peer, rttMs, now);
    this.#links.set(peer, link);
    return link;
  }

  /** False when there was none. */
  close(peer: PeerId): boolean {
    return this.#links.delete(peer);
  }

  /** Our own clock has called us late: what was awaited then tells nothing about the network. */
  ranLate(now: Instant): void {
    this.#ranLateAt = now;
  }

  /** A probe over `link` was answered after `rttMs`. */
  answered(link: Link, rttMs: number, now: Instant): void {
    const usual = link.roundTrip.smoothedMs ?? rttMs;
    if (rttMs - usual <= STALL_EVIDENCE_MS) link.roundTrip.smooth(rttMs);
    else if (this.#ranLateAt < now - rttMs && now - link.openedAt > WARM_UP_MS) this.#stalled(link, now);
  }

  /** How long a probe over `link` may take, before local health stretches it. */
  timeoutMs(link: Link, now: Instant): number {
    const { smoothedMs = 0, variationMs } = link.roundTrip;
    const usual = Math.max(PROBE_TIMEOUT_LEAST_MS, smoothedMs + 4 * variationMs + 50);
    const unshown = now - link.openedAt < UNSHOWN_MS;
    const stalled = now - link.stalledAt < STALL_MEMORY_MS || now - this.#networkStalledAt < STALL_MEMORY_MS / 3;
    const stalling = unshown || stalled;
    return Math.min(PROBE_TIMEOUT_MOST_MS, stalling ? Math.max(usual, smoothedMs + STALL_MS) : usual);
  }

  /** How long the accused of a suspicion has at least. */
  windowMs(now: Instant): number {
    let slowest = 0;
    for (const link of this.#links.values()) slowest = Math.max(slowest, link.roundTrip.smoothedMs ?? 0);
    const stalling = now - this.#networkStalledAt < STALL_MEMORY_MS ? REFUTATION_STALL_MS : 0;
    return REFUTATION_WINDOW_MS + Math.min(REFUTATION_WINDOW_MS, 2 * slowest) + stalling;
  }

  #stalled(link: Link, now: Instant): void {
    link.stalledAt = now;
    const sinceFirst = now - this.#stalledAt;
    if (sinceFirst > STALL_MEMORY_MS) {
      this.#stalledAt = now;
      this.#stalledPeer = link.peer;
    } else if (sinceFirst >= STALLS_APART_MS && link.peer !== this.#stalledPeer) this.#networkStalledAt = now;
  }
}

/** One link. Its fields belong to the probing code. */
export class Link {
  readonly peer: PeerId;
  readonly openedAt: Instant;
  readonly roundTrip = new RoundTrip();
  /** Probes in a row without an answer. */
  misses = 0;
  /** The first of them, whose answer would come first and be the proof of a stall. */
  missedSequence = -1;
  missedSentAt: Instant = 0;
  stalledAt: Instant = Number.NEGATIVE_INFINITY;
  /** Its peer spoke elsewhere while nothing came back here: the link is broken, not the peer. */
  deaf = false;
  /** The record of its peer when it last gave a sign of life here. */
  provenBy: MemberRecord | undefined;
  /** When its peer, held for down, was last told so. */
  remindedAt: Instant = Number.NEGATIVE_INFINITY;
  readonly #answers: TokenBucket;
  readonly #requests: TokenBucket;

  constructor(peer: PeerId, rttMs: number, now: Instant) {
    this.peer = peer;
    this.openedAt = now;
    this.roundTrip.smooth(rttMs);
    this.#answers = new TokenBucket(ANSWER_RATE, now);
    this.#requests = new TokenBucket(REQUEST_RATE, now);
  }

  /** Whether one more probe is answered. */
  mayAnswer(now: Instant): boolean {
    return this.#answers.spend(1, ANSWER_RATE, now) >= 0;
  }

  /** Whether one more indirect probe is made for the peer. */
  mayRequest(now: Instant): boolean {
    return this.#requests.spend(1, REQUEST_RATE, now) >= 0;
  }
}
