import type { Instant } from "../machine.ts";
import type { RoundTrip } from "./round-trip.ts";

/**
 * Decides when to ask the peer for a sign of life, and when to give it up.
 *
 * A *question* is anything that a living peer answers within a round trip: a ping, or a numbered frame. While a
 * question is open and nothing at all comes from the peer for the time-out, the link is dead. The time-out is RFC
 * 6298's (round trip plus four deviations) or three times the longest recent round trip if that is more: at least 1.5
 * s, because one loss stalls SCTP for a second, and at most 2.75 s, as it is while losses are seen (two in a row, or
 * one each way, take 2 s), so that with the ping after a second of silence a dead peer is noticed within 4 s. A frame
 * that stays unacknowledged for 30 s is the end even if the peer is heard. Without application streams nothing is asked
 * for its own sake: the mesh probes its links, and decides about members.
 *
 * A time-out noticed more than a second late means that this process slept: the peer gets a fresh question first.
 */
export class Liveness {
  readonly #silenceMs: number;
  #heardAt: Instant | undefined;
  #askedAt: Instant | undefined;
  /** When this process last woke from a sleep: questions count from then. */
  #awakeAt: Instant = 0;

  /** @param silenceMs after which a watched peer is asked. */
  constructor(silenceMs: number) {
    this.#silenceMs = silenceMs;
  }

  /** A frame has come. */
  heard(now: Instant): void {
    this.#heardAt = now;
    this.#askedAt = undefined;
  }

  /** A ping goes out. */
  asked(now: Instant): void {
    this.#askedAt ??= now;
    this.#heardAt ??= now;
  }

  /**
   * When {@link judge} has something to say; undefined when nothing is awaited. `unackedSince`: when the oldest frame
   * not acknowledged was sent. `watched`: whether silence itself is a reason to ask.
   */
  deadline(unackedSince: Instant | undefined, watched: boolean, roundTrip: Timing): Instant | undefined {
    if (unackedSince !== undefined) {
      const since = Math.max(unackedSince, this.#awakeAt);
      const silentSince = Math.max(since, this.#heardAt ?? since);
      const openSince = Math.min(silentSince, this.#askedAt ?? silentSince);
      return Math.min(openSince + timeoutMs(roundTrip), since + MAX_UNACKED_MS);
    }
    if (this.#askedAt !== undefined) return this.#askedAt + timeoutMs(roundTrip);
    return watched && this.#heardAt !== undefined ? this.#heardAt + this.#silenceMs : undefined;
  }

  /** What is to be done at `now`; arguments as for {@link deadline}. */
  judge(
    unackedSince: Instant | undefined,
    watched: boolean,
    roundTrip: Timing,
    now: Instant,
  ): "ask" | "dead" | undefined {
    if (watched) this.#heardAt ??= now;
    const deadline = this.deadline(unackedSince, watched, roundTrip);
    if (deadline === undefined || now < deadline) return undefined;
    if (unackedSince === undefined && this.#askedAt === undefined) return "ask";
    if (now - deadline <= SLEEP_MS) return "dead";
    this.heard(now);
    this.#awakeAt = now;
    return "ask";
  }
}

type Timing = Readonly<Pick<RoundTrip, "smoothedMs" | "variationMs" | "largestMs">>;

function timeoutMs({ smoothedMs, variationMs, largestMs }: Timing): number {
  const wanted = Math.max((smoothedMs ?? 0) + 4 * variationMs, 3 * largestMs);
  return Math.min(Math.max(wanted, MIN_TIMEOUT_MS), MAX_TIMEOUT_MS);
}

/**
 * Silence after which each side of a link with application streams asks. The answerer waits a little longer, so that as
 * a rule the dialer's ping, which is a sign of life too, saves its own.
 */
export const SILENCE_MS = { dialer: 1_000, answerer: 1_250 } as const;

/** One retransmission of SCTP (1 s at least), and half a second for the path. */
const MIN_TIMEOUT_MS = 1_500;

/** With the answerer's silence: 4 s until a dead peer is noticed. Two retransmissions and their round trips fit. */
const MAX_TIMEOUT_MS = 2_750;

/** A peer that sends but does not acknowledge for so long is broken: on an ordered channel nothing explains it. */
export const MAX_UNACKED_MS = 30_000;

/** No event loop of ours is blocked for so long. */
const SLEEP_MS = 1_000;
