import type { Instant } from "../machine.ts";

/** How far our clock is from a server's. */
export interface Skew {
  /** Server's clock minus ours, ms: positive when ours is behind. */
  readonly skewMs: number;
  /** Half the round trip: the true skew lies within this of `skewMs`, if the server's clock is read half-way or not. */
  readonly uncertaintyMs: number;
}

/**
 * The skew between two clocks from request and answer (the estimate of NTP, RFC 5905 section 8, for one server reading):
 * the server is assumed to have read its clock at the mid-point of the round trip, which is wrong by half of it at most. Of the last
 * {@link SAMPLES} samples the one with the shortest round trip counts, since queues and sleep only ever lengthen it.
 */
export class ClockSkew {
  #samples: Skew[] = [];

  /** Adds one round trip and returns the best estimate of the last few. */
  add(sentAt: Instant, receivedAt: Instant, serverTime: Instant): Skew {
    const uncertaintyMs = (receivedAt - sentAt) / 2;
    if (this.#samples.length === SAMPLES) this.#samples.shift();
    this.#samples.push({ skewMs: serverTime - (sentAt + uncertaintyMs), uncertaintyMs });
    let best: Skew | undefined;
    for (const sample of this.#samples) {
      if (best === undefined || sample.uncertaintyMs <= best.uncertaintyMs) best = sample;
    }
    return best as Skew;
  }
}

/** Eight keepalives are about a minute: long enough to meet an idle moment, short enough to follow a corrected clock. */
const SAMPLES = 8;
