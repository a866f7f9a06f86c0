import type { Instant } from "../../src/proto/machine.ts";
import type { PeerId } from "../../src/proto/peer-id.ts";

/**
 * Finds resumptions that are shown twice, without a nonce (RFC 8446, section 8): each says when it was made, by this server's clock.
 *
 * It is taken within {@link WINDOW_MS} of that, and for one peer only if it was made later than the last one that was taken. What is
 * remembered of a peer can be forgotten after the window. A server that starts has forgotten everything, so that it takes nothing that was
 * made before it was there. An agent's idea of the time is never ahead of the clock that it was told, as long as that is not set
 * back; {@link AHEAD_MS} forgives what two clocks differ in a minute, at both ends.
 */
export class Replays {
  readonly #latest = new Map<PeerId, { readonly madeAt: Instant; readonly takenAt: Instant }>();
  #since: Instant | undefined;

  /** @param since when the server began. Default: when it is first asked. */
  constructor(since?: Instant) {
    this.#since = since;
  }

  /** Whether a resumption that `peer` made at `madeAt` may be taken: it is fresh, and the latest. */
  allows(peer: PeerId, madeAt: Instant, now: Instant): boolean {
    this.#since ??= now;
    this.#forget(now);
    if (madeAt > now + AHEAD_MS || madeAt < now - WINDOW_MS || madeAt <= this.#since + AHEAD_MS) return false;
    const latest = this.#latest.get(peer);
    if (latest !== undefined) return madeAt > latest.madeAt;
    return this.#latest.size < MAX_REMEMBERED;
  }

  /** It was taken. */
  took(peer: PeerId, madeAt: Instant, now: Instant): void {
    // Deleted first, so that the map stays in the order in which they were taken.
    this.#latest.delete(peer);
    this.#latest.set(peer, { madeAt, takenAt: now });
  }

  #forget(now: Instant): void {
    for (const [peer, { takenAt }] of this.#latest) {
      if (takenAt > now - WINDOW_MS - AHEAD_MS) return;
      this.#latest.delete(peer);
    }
  }
}

/** From where an agent writes its request to where the server reads it, ms: a handshake of TLS on a bad path, behind thousands of others. */
const WINDOW_MS = 10_000;

/** What the two clocks may differ, ms: agents measure at each keepalive. */
const AHEAD_MS = 250;

/** Peers that have come back within the window: more than a server has connections. */
const MAX_REMEMBERED = 32_768;
