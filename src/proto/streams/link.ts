import { assert, unreachable } from "../assert.ts";
import { earlier } from "../deadlines.ts";
import { MAX_LANE_MESSAGE_BYTES, MAX_STREAM_MESSAGE_BYTES } from "../limits.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import { Acknowledgements } from "./acknowledgements.ts";
import { Kind, LANES } from "./chunk.ts";
import { decodeLinkControl, encodeLinkControl } from "./control.ts";
import type { LinkFault, LinkInput, LinkOutput } from "./events.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { Inbox } from "./inbox.ts";
import type { Lane } from "./lanes.ts";
import { FAULT_FORGIVEN_MS, LANE_QUEUE_BYTES, MAX_FAULTS, MAX_FLUSH_BYTES, MAX_PENDING_REPLIES } from "./limits.ts";
import { Liveness, SILENCE_MS } from "./liveness.ts";
import { Outbox } from "./outbox.ts";
import { Pacer, type PacerOptions } from "./pacer.ts";
import { Pings } from "./pings.ts";
import { laneClass, Scheduler } from "./scheduler.ts";
import { type LinkRole, StreamSet } from "./stream-set.ts";

/**
 * A link: messages, streams and heartbeats over one reliable, ordered, message-based channel.
 *
 * The bytes are in `chunk.ts` and `control.ts`; what goes first in `scheduler.ts`; how much is under way in `pacer.ts`;
 * when the peer is given up in `liveness.ts`; streams in `stream-set.ts`. This machine puts them together: inputs
 * queue, a flush (one for each turn of the event loop) packs what is queued into frames, a frame is taken apart at
 * once.
 *
 * All outputs of an input are to be carried out, in order, before the next input: frames must not overtake each other.
 * Only a `send` that is taken may come in between, as it has no outputs.
 *
 * {@link Link.deadline} lies in the past while a flush has something to emit. While the path is full it does not: the
 * acknowledgement that makes room comes as a `frame`, after which the deadline is in the past again. When the stack
 * reported too much unsent, the driver flushes on its `drained`; the link also looks again by itself after a few
 * milliseconds.
 *
 * It trusts the channel to keep order and lose nothing, and the peer not at all: whatever arrives is an output, memory
 * stays within `limits.ts`, and a peer that keeps breaking the rules ends the link. After `dead` every input is
 * ignored.
 *
 * The count of numbered frames belongs to the session and would go on over another channel; round trips, rates and
 * liveness belong to the channel below.
 */
export class Link implements Machine<LinkInput, LinkOutput> {
  readonly #scheduler = new Scheduler();
  readonly #streams: StreamSet;
  readonly #pacer: Pacer;
  readonly #acks = new Acknowledgements();
  readonly #pings = new Pings();
  readonly #liveness: Liveness;
  readonly #lanes: readonly Outbox[];
  readonly #inboxes: readonly Inbox[];
  readonly #writer = new FrameWriter();
  readonly #reader = new FrameReader();
  readonly #maxBufferedBytes: number | undefined;
  #state: "live" | "dead" = "live";
  #now: Instant = 0;
  #touched: Outbox[] = [];
  #draining = false;
  /** A flush stopped early for the sake of the event loop. */
  #moreNow = false;
  #bufferedBytes = 0;
  /** When to look again after the stack held too much. */
  #retryAt: Instant | undefined;
  #faults = 0;
  #faultsAt: Instant = 0;

  constructor(role: LinkRole, options: LinkOptions = {}) {
    this.#streams = new StreamSet(role, this.#scheduler);
    this.#pacer = new Pacer(options);
    this.#liveness = new Liveness(SILENCE_MS[role]);
    this.#maxBufferedBytes = options.maxBufferedBytes;
    this.#lanes = LANE_QUEUE_BYTES.map(
      (bytes, lane) => new Outbox(lane, laneClass(lane as Lane), bytes, Number.POSITIVE_INFINITY),
    );
    this.#inboxes = LANE_QUEUE_BYTES.map(() => new Inbox(MAX_LANE_MESSAGE_BYTES));
  }

  /** Smoothed round trip, milliseconds, queues below included; undefined before the first answer. */
  get rttMs(): number | undefined {
    return this.#pacer.roundTrip.smoothedMs;
  }

  /**
   * The smallest round trip of the last 10 to 20 s, milliseconds: what the path takes; undefined before the first
   * answer.
   */
  get minRttMs(): number | undefined {
    const { minimumMs } = this.#pacer.roundTrip;
    return Number.isFinite(minimumMs) ? minimumMs : undefined;
  }

  /** What the path is believed to take, bytes a second; 0 before the first acknowledgement. */
  get bytesPerSecond(): number {
    return this.#pacer.rate * 1_000;
  }

  /** Numbered frames sent since the session began. */
  get framesSent(): number {
    return this.#pacer.delivery.framesSent;
  }

  /** Of those, how many the peer has acknowledged. */
  get framesAcknowledged(): number {
    return this.#pacer.delivery.framesAcknowledged;
  }

  /** Numbered frames received since the session began. */
  get framesReceived(): number {
    return this.#acks.framesReceived;
  }

  /** Bytes handed down and not acknowledged. */
  get outstandingBytes(): number {
    return this.#pacer.delivery.outstandingBytes;
  }

  /** Application streams that are not over. */
  get streamCount(): number {
    return this.#streams.size;
  }

  /** What waits to be sent on `stream`, 64 bytes for each message included; 0 when there is no such stream. */
  queuedBytes(stream: number): number {
    return this.#outbox(stream)?.queuedBytes ?? 0;
  }

  /** Whether `stream` takes a message now; false as well when it is gone or ends. */
  writable(stream: number): boolean {
    return this.#outbox(stream)?.writable ?? false;
  }

  deadline(): Instant | undefined {
    if (this.#state === "dead") return undefined;
    if (this.#wantsFlush()) return this.#now;
    const alive = this.#liveness.deadline(
      this.#pacer.delivery.oldestSentAt,
      this.#streams.size > 0,
      this.#pacer.roundTrip,
    );
    return earlier(earlier(this.#acks.dueAt, this.#retryAt), alive);
  }

  handle(input: LinkInput, now: Instant): readonly LinkOutput[] {
    if (this.#state === "dead") return NOTHING;
    this.#now = now;
    switch (input.type) {
      case "send":
        return this.#send(input.stream, input.bytes);
      case "frame":
        return this.#receive(input.bytes, now);
      case "flush":
        return this.#flush(input.bufferedBytes, now);
      case "consumed":
        this.#streams.consumed(input.stream, input.messages, input.bytes, this.rttMs, now);
        return NOTHING;
      case "timeout":
        return this.#flush(input.bufferedBytes ?? this.#bufferedBytes, now);
      default:
        return this.#command(input, now);
    }
  }

  #command(input: Command, now: Instant): readonly LinkOutput[] {
    const out: LinkOutput[] = [];
    switch (input.type) {
      case "open":
        this.#streams.open(input.protocol, input.priority ?? "normal", out);
        break;
      case "accept":
        this.#streams.accept(input.stream, input.priority, this.rttMs, now);
        break;
      case "refuse":
        this.#streams.refuse(input.stream, input.reason);
        break;
      case "end":
        this.#streams.end(input.stream, out);
        break;
      case "reset":
        this.#streams.reset(input.stream, input.code);
        break;
      case "ping":
        this.#ping(input.id, now);
        break;
      case "drain":
        this.#draining = true;
        this.#checkDrained(out);
        break;
      case "goodbye":
        this.#scheduler.control(0, encodeLinkControl({ op: "goodbye", reason: input.reason }));
        break;
      default:
        return unreachable(input);
    }
    return out;
  }

  #send(stream: number, bytes: Uint8Array): readonly LinkOutput[] {
    const outbox = this.#outbox(stream);
    if (outbox === undefined) {
      assert(stream >= LANES * 2, "a message goes to a lane or to an application stream");
      return NOTHING;
    }
    const most = stream < LANES ? MAX_LANE_MESSAGE_BYTES : MAX_STREAM_MESSAGE_BYTES;
    assert(bytes.length <= most, "a message has at most 256 KiB on a lane, 16 MiB on an application stream");
    if (outbox.push(bytes)) {
      if (!outbox.inLine) this.#scheduler.activate(outbox);
      return NOTHING;
    }
    assert(stream < LANES, "the driver waits for an application stream to be writable");
    return [{ type: "dropped", stream, bytes: bytes.length }];
  }

  #outbox(stream: number): Outbox | undefined {
    return stream < LANES ? this.#lanes[stream] : this.#streams.outbox(stream);
  }

  #ping(id: number | undefined, now: Instant): void {
    this.#scheduler.control(0, encodeLinkControl({ op: "ping", id: this.#pings.sent(id, now) }));
    this.#liveness.asked(now);
  }

  // Sending

  #wantsFlush(): boolean {
    if (this.#moreNow || (this.#scheduler.urgent && this.#pacer.openForUrgent)) return true;
    const { dueAt } = this.#acks;
    if (dueAt !== undefined && dueAt <= this.#now) return true;
    return this.#scheduler.pending && this.#pacer.open && this.#retryAt === undefined;
  }

  #flush(bufferedBytes: number, now: Instant): readonly LinkOutput[] {
    const out: LinkOutput[] = [];
    this.#bufferedBytes = bufferedBytes;
    if (this.#judge(now, out)) return out;
    const mayBuffer = this.#maxBufferedBytes ?? this.#pacer.stackBytes;
    let emitted = 0;
    this.#moreNow = false;
    this.#retryAt = undefined;
    for (;;) {
      const stackFull = bufferedBytes + emitted > mayBuffer && bufferedBytes > 0;
      const open = this.#pacer.open && !stackFull;
      const bytes = this.#frame(open, now, out);
      if (bytes === 0) {
        if (stackFull && this.#scheduler.pending) this.#retryAt = now + RETRY_MS;
        break;
      }
      emitted += bytes;
      if (emitted >= MAX_FLUSH_BYTES) {
        this.#moreNow = true;
        break;
      }
    }
    if (this.#pacer.open && !this.#scheduler.pending) this.#pacer.idle();
    if (!this.#scheduler.urgent) this.#streams.replies = 0;
    if (this.#draining) this.#checkDrained(out);
    return out.length > 0 ? out : NOTHING;
  }

  /**
   * Emits one frame; returns its length, 0 when there is nothing to be sent. `open`: more than urgent things may go.
   */
  #frame(open: boolean, now: Instant, out: LinkOutput[]): number {
    const scheduler = this.#scheduler;
    const urgent = scheduler.urgent && this.#pacer.openForUrgent;
    const more = open && scheduler.pending;
    const { dueAt } = this.#acks;
    if (!urgent && !more && (dueAt === undefined || dueAt > now)) return 0;
    const writer = this.#writer;
    writer.begin(this.#pacer.frameBytes);
    if (this.#acks.owed) writer.control(0, this.#acks.take(now));
    const touched = this.#touched;
    if ((!urgent || scheduler.fillUrgent(writer, touched)) && more) scheduler.fill(writer, touched);
    if (writer.empty) return 0;
    const { numbered } = writer;
    const bytes = writer.finish();
    if (numbered) this.#pacer.sent(bytes.length, now);
    out.push({ type: "frame", bytes, number: numbered ? this.framesSent : 0 });
    for (const outbox of touched) {
      if (outbox.takeWritable()) out.push({ type: "writable", stream: outbox.stream });
      this.#streams.finished(outbox, out);
    }
    touched.length = 0;
    return bytes.length;
  }

  /** Asks a silent peer, or gives it up; true when the link is dead. */
  #judge(now: Instant, out: LinkOutput[]): boolean {
    const { delivery, roundTrip } = this.#pacer;
    const verdict = this.#liveness.judge(delivery.oldestSentAt, this.#streams.size > 0, roundTrip, now);
    if (verdict === "ask") this.#ping(undefined, now);
    if (verdict !== "dead") return false;
    this.#die("silent", out);
    return true;
  }

  #die(reason: "silent" | "protocol", out: LinkOutput[]): void {
    this.#state = "dead";
    out.push({ type: "dead", reason });
  }

  #checkDrained(out: LinkOutput[]): void {
    if (!this.#draining || this.#pacer.delivery.outstandingBytes > 0 || this.#scheduler.urgent) return;
    if (this.#streams.queuedBytes > 0 || this.#lanes.some((lane) => lane.queuedBytes > 0)) return;
    this.#draining = false;
    out.push({ type: "drained" });
  }

  // Receiving

  #receive(bytes: Uint8Array, now: Instant): readonly LinkOutput[] {
    const out: LinkOutput[] = [];
    const reader = this.#reader;
    let numbered = false;
    this.#liveness.heard(now);
    reader.begin(bytes);
    while (this.#state === "live" && reader.next()) {
      const { stream, kind } = reader;
      if (stream !== 0) numbered = true;
      const fault = kind === Kind.control ? this.#control(now, out) : this.#data(out);
      if (fault !== undefined) this.#fault(fault, stream, now, out);
    }
    if (reader.malformed) this.#fault("malformed-frame", 0, now, out);
    reader.finish();
    if (numbered) this.#acks.received(bytes.length, now);
    if (this.#draining) this.#checkDrained(out);
    return out.length > 0 ? out : NOTHING;
  }

  #data(out: LinkOutput[]): LinkFault | undefined {
    const { stream, kind, bytes, start, end } = this.#reader;
    if (kind > Kind.control) return "malformed-frame";
    if (stream >= LANES) return this.#streams.data(this.#reader, out);
    const message = (this.#inboxes[stream] as Inbox).take(kind, bytes, start, end);
    if (typeof message === "string") return message;
    if (message !== undefined) out.push({ type: "message", stream, bytes: message });
    return undefined;
  }

  #control(now: Instant, out: LinkOutput[]): LinkFault | undefined {
    const { stream, bytes, start, end } = this.#reader;
    if (stream !== 0) return this.#streams.control(this.#reader, now, out);
    const control = decodeLinkControl(bytes, start, end);
    if (typeof control === "string") return control;
    switch (control.op) {
      case "ack":
        return this.#pacer.acknowledged(control.frames, control.delayMs, now) ? undefined : "bad-ack";
      case "ping":
        if (++this.#streams.replies > MAX_PENDING_REPLIES) return "flood";
        this.#scheduler.control(0, encodeLinkControl({ op: "pong", id: control.id }));
        return undefined;
      case "pong": {
        const answer = this.#pings.answered(control.id, now);
        if (answer === undefined) return "unexpected-control";
        this.#pacer.answered(answer.rttMs, now);
        if (answer.id !== undefined) out.push({ type: "pong", id: answer.id, rttMs: answer.rttMs });
        return undefined;
      }
      case "goodbye":
        out.push({ type: "goodbye", reason: control.reason });
        return undefined;
      default:
        return unreachable(control);
    }
  }

  /** Reports a fault; too many in too short a time end the link, and the peer is told why. */
  #fault(fault: LinkFault, stream: number, now: Instant, out: LinkOutput[]): void {
    if (this.#state === "dead") return;
    out.push({ type: "fault", fault, stream });
    this.#faults = Math.max(0, this.#faults - (now - this.#faultsAt) / FAULT_FORGIVEN_MS) + 1;
    this.#faultsAt = now;
    if (this.#faults <= MAX_FAULTS) return;
    const writer = this.#writer;
    writer.begin(64);
    writer.control(0, encodeLinkControl({ op: "goodbye", reason: "protocol" }));
    out.push({ type: "frame", bytes: writer.finish(), number: 0 });
    this.#die("protocol", out);
  }
}

export interface LinkOptions extends PacerOptions {
  /**
   * What the stack may report as unsent before the link waits, bytes. Default 25 ms of the path, at least 64 KiB. For a
   * stack whose figure falls only when everything is sent (werift), as much as it may hold.
   */
  readonly maxBufferedBytes?: number;
}

type Command = Exclude<LinkInput, { readonly type: "send" | "frame" | "flush" | "consumed" | "timeout" }>;

/** When the stack is too full and does not say when it is less so. */
const RETRY_MS = 5;
