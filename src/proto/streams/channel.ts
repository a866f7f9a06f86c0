import type { Instant } from "../machine.ts";
import { Liveness, SILENCE_MS } from "./liveness.ts";
import { Pacer, type PacerOptions } from "./pacer.ts";
import { Pings } from "./pings.ts";
import type { LinkRole } from "./stream-set.ts";

/** How much a stack takes. */
export interface LinkOptions extends PacerOptions {
  /**
   * What the stack may report as unsent before the link waits, bytes. Default 25 ms of the path, at least 64 KiB. For a
   * stack whose figure falls only when everything is sent (werift), as much as it may hold.
   */
  readonly maxBufferedBytes?: number;
}

/** What a link knows of the channel below it, and forgets with it: another channel is another path. */
export class Channel {
  readonly pacer: Pacer;
  readonly pings: Pings;
  readonly liveness: Liveness;
  readonly #maxBufferedBytes: number | undefined;
  /** What the stack last reported as unsent. */
  bufferedBytes = 0;
  /** A flush stopped early for the sake of the event loop. */
  moreNow = false;
  /** When to look again after the stack held too much. */
  retryAt: Instant | undefined;

  /**
   * @param role which side of this channel we are.
   * @param framesBefore numbered frames that the peer had before this channel.
   */
  constructor(role: LinkRole, options: LinkOptions, framesBefore: number) {
    this.pacer = new Pacer(options, framesBefore);
    this.pings = new Pings();
    this.liveness = new Liveness(SILENCE_MS[role]);
    this.#maxBufferedBytes = options.maxBufferedBytes;
  }

  /** Whether the stack, which holds `bytes` unsent, is to be given no more. */
  isFull(bytes: number): boolean {
    return bytes > (this.#maxBufferedBytes ?? this.pacer.stackBytes) && this.bufferedBytes > 0;
  }
}
