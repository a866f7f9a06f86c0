import { assert, unreachable } from "../assert.ts";
import { earlier } from "../deadlines.ts";
import { MAX_LANE_MESSAGE_BYTES, MAX_STREAM_MESSAGE_BYTES } from "../limits.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import { Acknowledgements } from "./acknowledgements.ts";
import type { Channel, LinkOptions } from "./channel.ts";
import { FILLER_STREAM, Kind, LANES } from "./chunk.ts";
import { decodeLinkControl, encodeLinkControl } from "./control.ts";
import type { Attachment, LinkFault, LinkInput, LinkOutput } from "./events.ts";
import { FaultBudget } from "./fault-budget.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { LaneSet } from "./lane-set.ts";
import { Lane } from "./lanes.ts";
import { MAX_PENDING_REPLIES, MAX_RETAINED_BYTES, SESSION_GRACE_MS } from "./limits.ts";
import type { Outbox } from "./outbox.ts";
import type { Retained } from "./retained.ts";
import { Scheduler } from "./scheduler.ts";
import { Sender } from "./sender.ts";
import { type LinkRole, StreamSet } from "./stream-set.ts";

/**
 * A link: messages, streams and heartbeats over a reliable, ordered, message-based channel, and over the one after it.
 *
 * The bytes are in `chunk.ts` and `control.ts`; what goes first in `scheduler.ts`; how much is under way in `pacer.ts`;
 * when a channel is given up in `liveness.ts`; streams in `stream-set.ts`. This machine puts them together: inputs
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
 * A session outlives its channel. Numbered frames are kept until the peer acknowledges them. When a channel breaks, or a
 * better one is there, both sides say in the next one's admission how many they have (`session/admission.ts`). On it each
 * says first which frame it begins with, repeats what the other lacks, and goes on. What comes twice, because it was still
 * on its way by the channel before, is told by its number. Streams, credits and the count of numbered frames belong to the session; round trips,
 * rates, pings and liveness to the channel (`channel.ts`). Lanes belong to the mesh: a channel that takes over while the one
 * before it lives keeps them whole; after a gap, of which the mesh was told as the end of the link, they begin afresh.
 *
 * It trusts a channel to keep order and lose nothing while it lasts, and the peer not at all: whatever arrives is an output,
 * memory stays within `limits.ts`, and a peer that keeps breaking the rules ends the link. After `dead` every input is
 * ignored.
 */
export class Link implements Machine<LinkInput, LinkOutput> {
  readonly #scheduler = new Scheduler();
  readonly #streams: StreamSet;
  readonly #lanes = new LaneSet(this.#scheduler);
  readonly #acks = new Acknowledgements();
  readonly #sender: Sender;
  readonly #faults = new FaultBudget();
  readonly #writer = new FrameWriter();
  readonly #reader = new FrameReader();
  #state: State = LIVE;
  #now: Instant = 0;
  #draining = false;

  /** @param role which side opens even numbers; it stays with the session. */
  constructor(role: LinkRole, options: LinkOptions = {}) {
    this.#streams = new StreamSet(role, this.#scheduler);
    this.#sender = new Sender(this.#scheduler, this.#streams, this.#acks, role, options);
  }

  get #channel(): Channel {
    return this.#sender.channel;
  }

  get #retained(): Retained {
    return this.#sender.retained;
  }

  /** Smoothed round trip, milliseconds, queues below included; undefined before the first answer. */
  get rttMs(): number | undefined {
    return this.#channel.pacer.roundTrip.smoothedMs;
  }

  /**
   * The smallest round trip of the last 10 to 20 s, milliseconds: what the path takes; undefined before the first
   * answer.
   */
  get minRttMs(): number | undefined {
    const { minimumMs } = this.#channel.pacer.roundTrip;
    return Number.isFinite(minimumMs) ? minimumMs : undefined;
  }

  /** What the path is believed to take, bytes a second; 0 before the first acknowledgement. */
  get bytesPerSecond(): number {
    return this.#channel.pacer.rate * 1_000;
  }

  /** Numbered frames sent since the session began. */
  get framesSent(): number {
    return this.#retained.framesSent;
  }

  /** Of those, how many the peer has acknowledged. */
  get framesAcknowledged(): number {
    return this.#retained.framesAcknowledged;
  }

  /** Numbered frames received since the session began. */
  get framesReceived(): number {
    return this.#acks.framesReceived;
  }

  /** Bytes of the frames that were sent and are not acknowledged. */
  get outstandingBytes(): number {
    return this.#retained.bytes;
  }

  /** Bytes that the peer has not acknowledged, queued or on their way. */
  get waitingBytes(): number {
    return this.#retained.bytes + this.#streams.queuedBytes + this.#lanes.queuedBytes;
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
    const writable = this.#outbox(stream)?.writable ?? false;
    if (!writable || this.#state.type === "live") return writable;
    return stream >= LANES && this.#retained.bytes + this.#streams.queuedBytes < MAX_RETAINED_BYTES;
  }

  deadline(): Instant | undefined {
    if (this.#state.type === "dead") return undefined;
    if (this.#state.type === "detached") return this.#state.until;
    if (this.#sender.wantsFlush(this.#now)) return this.#now;
    const { liveness, pacer, retryAt } = this.#channel;
    const alive = liveness.deadline(pacer.delivery.oldestSentAt, this.#streams.size > 0, pacer.roundTrip);
    return earlier(earlier(this.#acks.dueAt, retryAt), alive);
  }

  handle(input: LinkInput, now: Instant): readonly LinkOutput[] {
    if (this.#state.type === "dead") return NOTHING;
    this.#now = now;
    switch (input.type) {
      case "send":
        return this.#send(input.stream, input.bytes);
      case "frame":
        return this.#state.type === "live" ? this.#receive(input.bytes, now) : NOTHING;
      case "consumed":
        this.#streams.consumed(input.stream, input.messages, input.bytes, this.rttMs, now);
        return NOTHING;
      case "flush":
      case "timeout":
        if (this.#state.type === "detached") return this.#wait(this.#state.until, now);
        return this.#flush(input.bufferedBytes ?? this.#channel.bufferedBytes, now);
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
      case "detach":
        if (this.#state.type === "live") this.#detach("closed", now, out);
        break;
      case "attach":
        this.#attach(input, now, out);
        break;
      default:
        return unreachable(input);
    }
    return out;
  }

  // From channel to channel

  #detach(reason: "silent" | "closed", now: Instant, out: LinkOutput[]): void {
    if (this.#retained.bytes > MAX_RETAINED_BYTES) {
      this.#die("overfull", out);
      return;
    }
    this.#state = { type: "detached", until: now + SESSION_GRACE_MS };
    this.#lanes.restart(Lane.data);
    out.push({ type: "detached", reason });
  }

  #attach(attachment: Attachment, now: Instant, out: LinkOutput[]): void {
    if (attachment.received > this.framesSent) {
      this.#die("protocol", out);
      return;
    }
    const asked = this.#channel.pings.asked();
    this.#state = LIVE;
    this.#acks.restart();
    this.#sender.attach(attachment, now);
    this.#lanes.restart(attachment.lanes === "cut" ? Lane.data : Lane.probe);
    if (attachment.lanes === "cut") this.#retained.cutLanes();
    out.push({ type: "attached" });
    for (const id of asked) this.#ping(id, now);
    this.#streams.tellWritable(out);
  }

  #wait(until: Instant, now: Instant): readonly LinkOutput[] {
    const out: LinkOutput[] = [];
    if (now >= until) this.#die("forsaken", out);
    return out;
  }

  #send(stream: number, bytes: Uint8Array): readonly LinkOutput[] {
    const outbox = this.#outbox(stream);
    if (outbox === undefined) {
      assert(stream >= LANES * 2, "a message goes to a lane or to an application stream");
      return NOTHING;
    }
    if (stream < LANES && this.#state.type === "detached") return [{ type: "dropped", stream, bytes: bytes.length }];
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
    return stream < LANES ? this.#lanes.outbox(stream) : this.#streams.outbox(stream);
  }

  /** While there is no channel it is only remembered, to be asked on the next. */
  #ping(id: number | undefined, now: Instant): void {
    const { pings, liveness } = this.#channel;
    const wire = pings.sent(id, now);
    if (this.#state.type !== "live") return;
    this.#scheduler.control(0, encodeLinkControl({ op: "ping", id: wire }));
    liveness.asked(now);
  }

  // Sending

  #flush(bufferedBytes: number, now: Instant): readonly LinkOutput[] {
    const out: LinkOutput[] = [];
    if (this.#judge(now, out)) return out;
    this.#sender.flush(bufferedBytes, now, out);
    if (!this.#scheduler.urgent) this.#streams.replies = 0;
    if (this.#draining) this.#checkDrained(out);
    return out.length > 0 ? out : NOTHING;
  }

  /** Asks a silent peer, or gives the channel up; true when there is none any more. */
  #judge(now: Instant, out: LinkOutput[]): boolean {
    const { liveness, pacer } = this.#channel;
    const verdict = liveness.judge(pacer.delivery.oldestSentAt, this.#streams.size > 0, pacer.roundTrip, now);
    if (verdict === "ask") this.#ping(undefined, now);
    if (verdict !== "dead") return false;
    this.#detach("silent", now, out);
    return true;
  }

  #die(reason: "protocol" | "forsaken" | "overfull", out: LinkOutput[]): void {
    this.#state = DEAD;
    out.push({ type: "dead", reason });
  }

  #checkDrained(out: LinkOutput[]): void {
    if (!this.#draining || this.#retained.bytes > 0 || this.#scheduler.urgent) return;
    if (this.#streams.queuedBytes > 0 || this.#lanes.queuedBytes > 0) return;
    this.#draining = false;
    out.push({ type: "drained" });
  }

  // Receiving

  #receive(bytes: Uint8Array, now: Instant): readonly LinkOutput[] {
    const out: LinkOutput[] = [];
    const reader = this.#reader;
    let numbered = false;
    let next: Acknowledgements["next"] = "fresh";
    this.#channel.liveness.heard(now);
    reader.begin(bytes);
    while (this.#state === LIVE && reader.next()) {
      const { stream, kind } = reader;
      if (stream !== 0) {
        if (!numbered) next = this.#acks.next;
        numbered = true;
        if (next === "unexpected") this.#die("protocol", out);
        if (next !== "fresh") continue;
      }
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
    const { stream, kind, start, end } = this.#reader;
    if (kind > Kind.control) return "malformed-frame";
    if (stream >= LANES) {
      return stream === FILLER_STREAM && start === end ? undefined : this.#streams.data(this.#reader, out);
    }
    const message = this.#lanes.take(this.#reader);
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
        if (!this.#channel.pacer.acknowledged(control.frames, control.delayMs, now)) return "bad-ack";
        this.#retained.acknowledged(control.frames);
        return undefined;
      case "ping":
        if (++this.#streams.replies > MAX_PENDING_REPLIES) return "flood";
        this.#scheduler.control(0, encodeLinkControl({ op: "pong", id: control.id }));
        return undefined;
      case "pong": {
        const answer = this.#channel.pings.answered(control.id, now);
        if (answer === undefined) return "unexpected-control";
        if (answer === "forgotten") return undefined;
        this.#channel.pacer.answered(answer.rttMs, now);
        if (answer.id !== undefined) out.push({ type: "pong", id: answer.id, rttMs: answer.rttMs });
        return undefined;
      }
      case "begin":
        if (!this.#acks.begin(control.frames)) this.#die("protocol", out);
        return undefined;
      case "goodbye":
        out.push({ type: "goodbye", reason: control.reason });
        return undefined;
      default:
        return unreachable(control);
    }
  }

  /** Reports a fault; too many in too short a time end the link, and the peer is told why. */
  #fault(fault: LinkFault, stream: number, now: Instant, out: LinkOutput[]): void {
    if (this.#state !== LIVE) return;
    out.push({ type: "fault", fault, stream });
    if (this.#faults.bear(now)) return;
    const writer = this.#writer;
    writer.begin(64);
    writer.control(0, encodeLinkControl({ op: "goodbye", reason: "protocol" }));
    out.push({ type: "frame", bytes: writer.finish(), number: 0 });
    this.#die("protocol", out);
  }
}

type State =
  | { readonly type: "live" }
  /** Without a channel; the session ends at `until`. */
  | { readonly type: "detached"; readonly until: Instant }
  | { readonly type: "dead" };

const LIVE: State = { type: "live" };
const DEAD: State = { type: "dead" };

type Command = Exclude<LinkInput, { readonly type: "send" | "frame" | "flush" | "consumed" | "timeout" }>;
