import { MAX_LANE_MESSAGE_BYTES } from "../limits.ts";
import type { FrameReader } from "./frame-reader.ts";
import { Inbox, type InboxFault } from "./inbox.ts";
import type { Lane } from "./lanes.ts";
import { LANE_QUEUE_BYTES } from "./limits.ts";
import { Outbox } from "./outbox.ts";
import { laneClass, type Scheduler } from "./scheduler.ts";

/**
 * The four lanes of a link. They belong to the mesh, which hears of a link that breaks and begins afresh when it stands
 * again: what they held then is dropped on both sides, half a message included. Probes are dropped with every channel, for
 * a late probe is worse than none.
 */
export class LaneSet {
  readonly #scheduler: Scheduler;
  readonly #outboxes = LANE_QUEUE_BYTES.map((_, lane) => newOutbox(lane));
  readonly #inboxes = LANE_QUEUE_BYTES.map(newInbox);

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Bytes queued on all lanes. */
  get queuedBytes(): number {
    let bytes = 0;
    for (const outbox of this.#outboxes) bytes += outbox.queuedBytes;
    return bytes;
  }

  /** The outbox of `lane`, 0 to 3. */
  outbox(lane: number): Outbox | undefined {
    return this.#outboxes[lane];
  }

  /** Takes the chunk of a lane: a complete message, nothing yet, or a fault. */
  take({ stream, kind, bytes, start, end }: FrameReader): Uint8Array | InboxFault | undefined {
    return (this.#inboxes[stream] as Inbox).take(kind, bytes, start, end);
  }

  /** Drops what the lanes from 0 to `last` have queued or half received. */
  restart(last: Lane): void {
    for (let lane = 0; lane <= last; lane++) {
      this.#scheduler.remove(this.#outboxes[lane] as Outbox);
      this.#outboxes[lane] = newOutbox(lane);
      this.#inboxes[lane] = newInbox();
    }
  }
}

function newOutbox(lane: number): Outbox {
  const capacityBytes = LANE_QUEUE_BYTES[lane] as number;
  return new Outbox(lane, laneClass(lane as Lane), capacityBytes, Number.POSITIVE_INFINITY);
}

function newInbox(): Inbox {
  return new Inbox(MAX_LANE_MESSAGE_BYTES);
}
