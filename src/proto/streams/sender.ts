import type { Instant } from "../machine.ts";
import type { Acknowledgements } from "./acknowledgements.ts";
import { Channel, type LinkOptions } from "./channel.ts";
import { encodeLinkControl } from "./control.ts";
import type { Attachment, LinkOutput } from "./events.ts";
import { FrameWriter } from "./frame-writer.ts";
import { MAX_FLUSH_BYTES } from "./limits.ts";
import type { Outbox } from "./outbox.ts";
import { Retained } from "./retained.ts";
import type { Scheduler } from "./scheduler.ts";
import type { LinkRole, StreamSet } from "./stream-set.ts";

/**
 * The sending half of a link: makes frames of what is queued, as many as the path takes, and keeps those that count.
 *
 * On a channel that takes the place of another, the frames that the peer lacks come first, each as it was but for what
 * concerned the earlier channel, at the pace of the one below. Until they are all sent nothing else that counts may pass;
 * acknowledgements, pings and probes do, or a slow path would look like a dead one.
 */
export class Sender {
  readonly retained = new Retained();
  readonly #scheduler: Scheduler;
  readonly #streams: StreamSet;
  readonly #acks: Acknowledgements;
  #options: LinkOptions;
  readonly #writer = new FrameWriter();
  readonly #touched: Outbox[] = [];
  #channel: Channel;

  constructor(scheduler: Scheduler, streams: StreamSet, acks: Acknowledgements, role: LinkRole, options: LinkOptions) {
    this.#scheduler = scheduler;
    this.#streams = streams;
    this.#acks = acks;
    this.#options = options;
    this.#channel = new Channel(role, options, 0);
  }

  /** The channel below; the last one while there is none. */
  get channel(): Channel {
    return this.#channel;
  }

  /** Goes on over another channel. The peer said that it had `received` frames, and may have acknowledged more since. */
  attach({ role, received, options = this.#options }: Attachment, now: Instant): void {
    this.#options = options;
    const frames = Math.max(received, this.retained.framesAcknowledged);
    this.retained.acknowledged(frames);
    this.#channel = new Channel(role, options, frames);
    this.#channel.liveness.heard(now);
    this.#scheduler.dropLinkControls();
    this.#scheduler.control(0, encodeLinkControl({ op: "begin", frames }));
  }

  /** Whether there is something to be sent at once. */
  wantsFlush(now: Instant): boolean {
    const { moreNow, pacer, retryAt } = this.#channel;
    if (moreNow || this.#hasUrgent) return true;
    const { dueAt } = this.#acks;
    if (dueAt !== undefined && dueAt <= now) return true;
    return this.#hasMore && pacer.open && retryAt === undefined;
  }

  /** Emits what the path takes. `bufferedBytes`: what the stack reports as unsent. */
  flush(bufferedBytes: number, now: Instant, out: LinkOutput[]): void {
    const channel = this.#channel;
    channel.bufferedBytes = bufferedBytes;
    channel.moreNow = false;
    channel.retryAt = undefined;
    let emitted = 0;
    for (;;) {
      const isFull = channel.isFull(bufferedBytes + emitted);
      const bytes = this.#frame(channel.pacer.open && !isFull, now, out);
      if (bytes === 0) {
        if (isFull && this.#hasMore) channel.retryAt = now + RETRY_MS;
        break;
      }
      emitted += bytes;
      if (emitted >= MAX_FLUSH_BYTES) {
        channel.moreNow = true;
        break;
      }
    }
    if (channel.pacer.open && !this.#hasMore) channel.pacer.idle();
  }

  /** Whether frames of an earlier channel are still to be repeated. */
  get #repeating(): boolean {
    return this.#channel.pacer.delivery.framesSent < this.retained.framesSent;
  }

  get #hasUrgent(): boolean {
    if (this.#repeating) return this.#scheduler.unnumbered;
    return this.#scheduler.urgent && this.#channel.pacer.openForUrgent;
  }

  /** Whether something waits for the pacer. */
  get #hasMore(): boolean {
    return this.#scheduler.pending || this.#repeating;
  }

  /**
   * Emits one frame; returns its length, 0 when there is nothing to be sent. `open`: more than urgent things may go.
   */
  #frame(open: boolean, now: Instant, out: LinkOutput[]): number {
    const scheduler = this.#scheduler;
    const repeating = this.#repeating;
    const urgent = this.#hasUrgent;
    const more = open && !repeating && scheduler.pending;
    const { dueAt } = this.#acks;
    if (!urgent && !more && (dueAt === undefined || dueAt > now)) return repeating && open ? this.#repeat(now, out) : 0;
    const writer = this.#writer;
    writer.begin(this.#channel.pacer.frameBytes);
    if (this.#acks.owed) writer.control(0, this.#acks.take(now));
    const touched = this.#touched;
    if ((!urgent || scheduler.fillUrgent(writer, touched, !repeating)) && more) scheduler.fill(writer, touched);
    if (writer.empty) return 0;
    const { numbered } = writer;
    const bytes = writer.finish();
    if (numbered) {
      this.#channel.pacer.sent(bytes.length, now);
      this.retained.add(bytes);
    }
    out.push({ type: "frame", bytes, number: numbered ? this.retained.framesSent : 0 });
    for (const outbox of touched) {
      if (outbox.takeWritable()) out.push({ type: "writable", stream: outbox.stream });
      this.#streams.finished(outbox, out);
    }
    touched.length = 0;
    return bytes.length;
  }

  /** Emits the next frame that another channel has carried before, in vain as far as we know. */
  #repeat(now: Instant, out: LinkOutput[]): number {
    const { pacer } = this.#channel;
    const number = pacer.delivery.framesSent + 1;
    const bytes = this.retained.repeated(number);
    pacer.sent(bytes.length, now);
    out.push({ type: "frame", bytes, number });
    return bytes.length;
  }
}

/** When the stack is too full and does not say when it is less so. */
const RETRY_MS = 5;
