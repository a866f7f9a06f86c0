import type { Instant } from "../machine.ts";

/**
 * Counts the numbered frames in flight and measures how fast they are delivered.
 *
 * The estimator is that of BBR (draft-cheng-iccrg-delivery-rate-estimation): for the frame that an acknowledgement
 * covers last, what was delivered between its sending and its acknowledgement, over the longer of the time that took
 * and the time the same frames took to be sent. The second guards against acknowledgements that arrive in a burst:
 * after a stall all that was held back comes at once, and its rate is not the path's.
 *
 * A sample taken while there was nothing more to send says what was offered, not what the path takes: it is `limited`.
 */
export class Delivery {
  #sentAt = new Float64Array(INITIAL_RECORDS);
  #bytes = new Float64Array(INITIAL_RECORDS);
  /**
   * Bytes delivered, when that was, and when the frame then last delivered was sent, all as of this frame's sending.
   */
  #deliveredBefore = new Float64Array(INITIAL_RECORDS);
  #deliveredAtBefore = new Float64Array(INITIAL_RECORDS);
  #firstSentAt = new Float64Array(INITIAL_RECORDS);
  #limited = new Uint8Array(INITIAL_RECORDS);

  #framesSent: number;
  #framesAcknowledged: number;
  #outstanding = 0;
  #delivered = 0;
  #deliveredAt: Instant = 0;
  #latestSentAt: Instant = 0;
  /** Frames are `limited` until this much is delivered. */
  #limitedUntil = 1;
  readonly #sample: Mutable<Sample> = { elapsedMs: 0, intervalMs: 0, bytes: 0, limited: true, deliveredBefore: 0 };

  /** @param framesBefore numbered frames that were delivered before, by another channel. */
  constructor(framesBefore = 0) {
    this.#framesSent = framesBefore;
    this.#framesAcknowledged = framesBefore;
  }

  /** The number of the last frame sent. */
  get framesSent(): number {
    return this.#framesSent;
  }

  /** Of those, how many the peer has. */
  get framesAcknowledged(): number {
    return this.#framesAcknowledged;
  }

  /** Bytes sent and not acknowledged. */
  get outstandingBytes(): number {
    return this.#outstanding;
  }

  /** Bytes acknowledged. */
  get deliveredBytes(): number {
    return this.#delivered;
  }

  /** When the oldest frame not acknowledged was sent; undefined when all are. */
  get oldestSentAt(): Instant | undefined {
    if (this.#framesAcknowledged === this.#framesSent) return undefined;
    return this.#sentAt[this.#framesAcknowledged & (this.#sentAt.length - 1)];
  }

  /** Records the next numbered frame. */
  sent(bytes: number, now: Instant): void {
    if (this.#outstanding === 0) {
      this.#latestSentAt = now;
      this.#deliveredAt = now;
    }
    if (this.#framesSent - this.#framesAcknowledged === this.#sentAt.length) this.#grow();
    const slot = this.#framesSent & (this.#sentAt.length - 1);
    this.#sentAt[slot] = now;
    this.#bytes[slot] = bytes;
    this.#deliveredBefore[slot] = this.#delivered;
    this.#deliveredAtBefore[slot] = this.#deliveredAt;
    this.#firstSentAt[slot] = this.#latestSentAt;
    this.#limited[slot] = this.#limitedUntil > 0 ? 1 : 0;
    this.#framesSent++;
    this.#outstanding += bytes;
  }

  /** Nothing more is to be sent at the moment, though the path would take it. */
  idle(): void {
    this.#limitedUntil = this.#delivered + this.#outstanding + 1;
  }

  /**
   * The peer has the first `frames` frames, more than before and at most those sent. The result is overwritten by the
   * next call.
   */
  acknowledged(frames: number, now: Instant): Readonly<Sample> {
    const mask = this.#sentAt.length - 1;
    const last = (frames - 1) & mask;
    for (let frame = this.#framesAcknowledged; frame < frames; frame++) {
      const bytes = this.#bytes[frame & mask] as number;
      this.#delivered += bytes;
      this.#outstanding -= bytes;
    }
    this.#framesAcknowledged = frames;
    this.#deliveredAt = now;
    if (this.#delivered >= this.#limitedUntil) this.#limitedUntil = 0;
    const sentAt = this.#sentAt[last] as number;
    this.#latestSentAt = sentAt;
    const sample = this.#sample;
    const before = this.#deliveredBefore[last] as number;
    sample.elapsedMs = now - sentAt;
    sample.intervalMs = Math.max(
      sentAt - (this.#firstSentAt[last] as number),
      now - (this.#deliveredAtBefore[last] as number),
    );
    sample.bytes = this.#delivered - before;
    sample.deliveredBefore = before;
    sample.limited = this.#limited[last] === 1;
    return sample;
  }

  #grow(): void {
    const from = this.#sentAt.length;
    const spread = (column: Float64Array): Float64Array<ArrayBuffer> => {
      const wider = new Float64Array(from * 2);
      for (let frame = this.#framesAcknowledged; frame < this.#framesSent; frame++)
        wider[frame & (from * 2 - 1)] = column[frame & (from - 1)] as number;
      return wider;
    };
    this.#sentAt = spread(this.#sentAt);
    this.#bytes = spread(this.#bytes);
    this.#deliveredBefore = spread(this.#deliveredBefore);
    this.#deliveredAtBefore = spread(this.#deliveredAtBefore);
    this.#firstSentAt = spread(this.#firstSentAt);
    this.#limited = Uint8Array.from(spread(Float64Array.from(this.#limited)));
  }
}

/** What one acknowledgement says about the path. */
export interface Sample {
  /** From the sending of the last frame covered until now. */
  readonly elapsedMs: number;
  /** Over how long `bytes` were delivered. */
  readonly intervalMs: number;
  readonly bytes: number;
  /** Whether more could have been delivered had there been more to send. */
  readonly limited: boolean;
  /** `deliveredBytes` when that frame was sent: tells round trips apart. */
  readonly deliveredBefore: number;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** Records at the start, a power of two: an idle link needs a few, a busy one grows to its bound in frames. */
const INITIAL_RECORDS = 16;
