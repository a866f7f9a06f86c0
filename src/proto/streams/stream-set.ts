import { assert, unreachable } from "../assert.ts";
import type { Instant } from "../machine.ts";
import { AppStream } from "./app-stream.ts";
import { FIRST_STREAM } from "./chunk.ts";
import { decodeStreamControl, encodeStreamControl, isProtocolName, type StreamControl } from "./control.ts";
import { type LinkFault, type LinkOutput, type RefusalReason, ResetCode, type StreamPriority } from "./events.ts";
import type { FrameReader } from "./frame-reader.ts";
import {
  EARLY_CREDIT_BYTES,
  MAX_CREDIT_BYTES,
  MAX_PENDING_REPLIES,
  MAX_STREAM_ID,
  MAX_STREAMS,
  MESSAGE_OVERHEAD_BYTES,
  OPEN_BURST,
  OPENS_PER_SECOND,
} from "./limits.ts";
import type { Outbox } from "./outbox.ts";
import { WindowBudget } from "./receive-window.ts";
import { type Scheduler, streamClass } from "./scheduler.ts";

/** Which side of the link this is: the one that dialed opens even numbers. */
export type LinkRole = "dialer" | "answerer";

/**
 * The application streams of a link: opening, credit, half close, reset.
 *
 * Numbers are used once and in sequence. What arrives for a number that was used and is gone is ignored: the peer may
 * not know yet. An opener may send {@link EARLY_CREDIT_BYTES} before it is accepted. Either side may end its direction;
 * when both have, or on a reset or a refusal, everything about the stream is forgotten.
 */
export class StreamSet {
  readonly #streams = new Map<number, AppStream>();
  readonly #scheduler: Scheduler;
  readonly #budget = new WindowBudget();
  /** Streams whose half-received message waits for a share of the budget. */
  readonly #starved = new Set<AppStream>();
  readonly #firstTheirs: number;
  #nextOurs: number;
  #nextTheirs: number;
  #ours = 0;
  #theirs = 0;
  #openTokens = OPEN_BURST;
  #openTokensAt: Instant = 0;
  /** Refusals and pongs queued since the last flush; the link counts its pongs here too. */
  replies = 0;

  constructor(role: LinkRole, scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.#nextOurs = role === "dialer" ? FIRST_STREAM : FIRST_STREAM + 1;
    this.#firstTheirs = role === "dialer" ? FIRST_STREAM + 1 : FIRST_STREAM;
    this.#nextTheirs = this.#firstTheirs;
  }

  /** Streams not over yet, of both sides. */
  get size(): number {
    return this.#streams.size;
  }

  /** The outbox of `id`; undefined when there is no such stream (any more). */
  outbox(id: number): Outbox | undefined {
    return this.#streams.get(id)?.outbox;
  }

  /** Bytes queued on all streams, those without credit included. */
  get queuedBytes(): number {
    let bytes = 0;
    for (const { outbox } of this.#streams.values()) bytes += outbox.queuedBytes;
    return bytes;
  }

  /** Tells the application of every stream that takes messages, because none did for a while. */
  tellWritable(out: LinkOutput[]): void {
    for (const { id, outbox } of this.#streams.values())
      if (outbox.writable) out.push({ type: "writable", stream: id });
  }

  open(protocol: string, priority: StreamPriority, out: LinkOutput[]): void {
    assert(isProtocolName(protocol), "a protocol name has 1 to 64 bytes");
    const id = this.#nextOurs;
    if (id > MAX_STREAM_ID || this.#ours >= MAX_STREAMS) {
      out.push({ type: "unopened", protocol, reason: id > MAX_STREAM_ID ? "exhausted" : "too-many-streams" });
      return;
    }
    this.#nextOurs += 2;
    this.#ours++;
    const stream = AppStream.offer(id, priority, this.#budget);
    this.#streams.set(id, stream);
    this.#control(id, { op: "open", windowBytes: stream.window.open(), priority, protocol });
    out.push({ type: "opening", stream: id, protocol });
  }

  accept(id: number, priority: StreamPriority | undefined, rttMs: number | undefined, now: Instant): void {
    const stream = this.#streams.get(id);
    if (stream?.phase !== "asked") return;
    stream.phase = "open";
    if (priority !== undefined) {
      this.#scheduler.remove(stream.outbox);
      stream.outbox.priority = streamClass(priority);
      this.#scheduler.activate(stream.outbox);
    }
    this.#control(id, { op: "accept", windowBytes: stream.window.open() });
    this.#promise(stream);
    this.#grant(stream, rttMs, now);
  }

  refuse(id: number, reason: RefusalReason): void {
    const stream = this.#streams.get(id);
    if (stream?.phase !== "asked") return;
    this.#control(id, { op: "refuse", reason });
    this.#forget(stream);
  }

  end(id: number, out: LinkOutput[]): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.outbox.end();
    this.#scheduler.activate(stream.outbox);
    this.finished(stream.outbox, out);
  }

  reset(id: number, code: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    this.#control(id, { op: "reset", code });
    this.#forget(stream);
  }

  consumed(id: number, messages: number, bytes: number, rttMs: number | undefined, now: Instant): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    assert(
      stream.window.consumed(bytes + messages * MESSAGE_OVERHEAD_BYTES),
      "an application consumes what was delivered to it, once",
    );
    if (stream.phase !== "asked") this.#grant(stream, rttMs, now);
  }

  /** An outbox has been sent from: forgets its stream if that was the last of it. */
  finished(outbox: Outbox, out: LinkOutput[]): void {
    const stream = outbox.ended ? this.#streams.get(outbox.stream) : undefined;
    if (stream === undefined || !stream.over) return;
    this.#forget(stream);
    out.push({ type: "closed", stream: stream.id });
  }

  /** A piece of a message has come. */
  data(chunk: FrameReader, out: LinkOutput[]): LinkFault | undefined {
    const stream = this.#streams.get(chunk.stream);
    if (stream === undefined) return this.#wasOpen(chunk.stream) ? undefined : "wrong-stream";
    if (!stream.receiving) return this.#break(stream, "data-after-end", out);
    const { inbox, window } = stream;
    const begins = inbox.idle;
    const message = inbox.take(chunk.kind, chunk.bytes, chunk.start, chunk.end);
    if (typeof message === "string") return this.#break(stream, message, out);
    if (!window.allows(inbox.cost)) return this.#break(stream, "credit-exceeded", out);
    if (message === undefined) {
      if (begins) this.#promise(stream);
      return undefined;
    }
    window.delivered(message.length + MESSAGE_OVERHEAD_BYTES);
    out.push({ type: "message", stream: stream.id, bytes: message });
    return undefined;
  }

  /** A control of an application stream has come. */
  control(chunk: FrameReader, now: Instant, out: LinkOutput[]): LinkFault | undefined {
    const control = decodeStreamControl(chunk.bytes, chunk.start, chunk.end);
    if (typeof control === "string") return control;
    const id = chunk.stream;
    if (control.op === "open") return this.#opened(id, control, now, out);
    const stream = this.#streams.get(id);
    if (stream === undefined) return this.#wasOpen(id) ? undefined : "wrong-stream";
    switch (control.op) {
      case "accept":
        if (stream.phase !== "offered") return this.#break(stream, "unexpected-control", out);
        stream.phase = "open";
        stream.outbox.credit(control.windowBytes - EARLY_CREDIT_BYTES, MAX_CREDIT_BYTES);
        this.#scheduler.activate(stream.outbox);
        out.push({ type: "accepted", stream: id });
        return undefined;
      case "refuse":
        if (stream.phase !== "offered") return this.#break(stream, "unexpected-control", out);
        this.#forget(stream);
        out.push({ type: "refused", stream: id, reason: control.reason });
        return undefined;
      case "credit":
        if (!stream.outbox.credit(control.bytes, MAX_CREDIT_BYTES)) return this.#break(stream, "bad-credit", out);
        this.#scheduler.activate(stream.outbox);
        return undefined;
      case "fin":
        return this.#ended(stream, out);
      case "reset":
        this.#forget(stream);
        out.push({ type: "reset", stream: id, code: control.code });
        return undefined;
      default:
        return unreachable(control);
    }
  }

  #opened(
    id: number,
    { windowBytes, priority, protocol }: StreamControl & { op: "open" },
    now: Instant,
    out: LinkOutput[],
  ): LinkFault | undefined {
    if ((id - this.#firstTheirs) % 2 !== 0 || id < FIRST_STREAM) return "wrong-stream";
    if (id !== this.#nextTheirs) return "bad-open";
    this.#nextTheirs += 2;
    const crowded = this.#theirs >= MAX_STREAMS;
    if (crowded || !this.#mayOpen(now)) {
      if (++this.replies > MAX_PENDING_REPLIES) return "flood";
      this.#control(id, { op: "refuse", reason: crowded ? "too-many-streams" : "busy" });
      return crowded ? "too-many-streams" : undefined;
    }
    this.#theirs++;
    this.#streams.set(id, AppStream.asked(id, priority, windowBytes, this.#budget));
    out.push({ type: "opened", stream: id, protocol, priority });
    return undefined;
  }

  #ended(stream: AppStream, out: LinkOutput[]): LinkFault | undefined {
    if (!stream.receiving) return this.#break(stream, "data-after-end", out);
    if (!stream.inbox.idle) return this.#break(stream, "broken-message", out);
    stream.receiving = false;
    out.push({ type: "ended", stream: stream.id });
    this.finished(stream.outbox, out);
    return undefined;
  }

  /** Ends a stream on which the peer broke the rules; both applications are told. */
  #break(stream: AppStream, fault: LinkFault, out: LinkOutput[]): LinkFault {
    const code = RESET_CODES[fault] ?? ResetCode.protocol;
    this.#control(stream.id, { op: "reset", code });
    this.#forget(stream);
    out.push({ type: "reset", stream: stream.id, code });
    return fault;
  }

  /** Makes room for the message that is half received, now or when others give some back. */
  #promise(stream: AppStream): void {
    const bytes = stream.window.promise(stream.inbox.messageCost, stream.inbox.expectedCost);
    if (bytes === undefined) this.#starved.add(stream);
    else {
      this.#starved.delete(stream);
      if (bytes > 0) this.#control(stream.id, { op: "credit", bytes });
    }
  }

  #grant(stream: AppStream, rttMs: number | undefined, now: Instant): void {
    const bytes = stream.receiving ? stream.window.grant(rttMs, now) : 0;
    if (bytes === 0) return;
    this.#control(stream.id, { op: "credit", bytes });
    this.#feedStarved();
  }

  #feedStarved(): void {
    for (const stream of this.#starved) this.#promise(stream);
  }

  #forget(stream: AppStream): void {
    this.#streams.delete(stream.id);
    this.#scheduler.remove(stream.outbox);
    stream.window.close();
    if ((stream.id - this.#firstTheirs) % 2 === 0) this.#theirs--;
    else this.#ours--;
    this.#starved.delete(stream);
    this.#feedStarved();
  }

  #wasOpen(id: number): boolean {
    return id >= FIRST_STREAM && id < ((id - this.#firstTheirs) % 2 === 0 ? this.#nextTheirs : this.#nextOurs);
  }

  #mayOpen(now: Instant): boolean {
    const earned = ((now - this.#openTokensAt) * OPENS_PER_SECOND) / 1_000;
    this.#openTokens = Math.min(this.#openTokens + earned, OPEN_BURST);
    this.#openTokensAt = now;
    if (this.#openTokens < 1) return false;
    this.#openTokens--;
    return true;
  }

  #control(stream: number, control: StreamControl): void {
    this.#scheduler.control(stream, encodeStreamControl(stream, control));
  }
}

const RESET_CODES: Readonly<Partial<Record<LinkFault, number>>> = {
  "credit-exceeded": ResetCode.creditExceeded,
  "oversize-message": ResetCode.oversize,
};
