import { BoundedQueue } from "../bounded.ts";
import { MAX_CHUNK_HEAD_BYTES } from "./chunk.ts";
import { encodeStreamControl } from "./control.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { MESSAGE_OVERHEAD_BYTES, MIN_PIECE_BYTES } from "./limits.ts";

/** Why an outbox stopped filling a frame. */
export type Filled =
  /** The frame has no room for what comes next. */
  | "full"
  /** It has used up its turn. */
  | "turn"
  /** Nothing is left to send. */
  | "empty"
  /** What comes next exceeds the credit. */
  | "blocked"
  /** Its end has been sent. */
  | "ended";

/** What a turn adds to an outbox's allowance: the largest piece, so that every turn sends something. */
const TURN_BYTES = 16_384;

/** A `fin` chunk: head, length, op. */
const FIN_BYTES = 7;

/**
 * The messages that wait to be sent on one stream, and how they are cut into chunks.
 *
 * A message that fits goes whole. One that would fit into an empty frame waits for it when this one is half full
 * already, because a message in one piece costs the receiver no copy; anything longer is cut so that frames are full.
 * Turns are counted in bytes and a debt is carried over (surplus round robin), so streams of small and of large
 * messages share alike.
 */
export class Outbox {
  readonly stream: number;
  readonly #capacityBytes: number;
  readonly #queue: BoundedQueue<Uint8Array>;
  #state: "open" | "ending" | "ended" = "open";
  /** How much of the first message has been sent. */
  #offset = 0;
  #queuedCost = 0;
  #credit: number;
  #allowance = 0;
  #overfull = false;
  /** Kept by the scheduler: the index of its class, and whether it is in line. */
  priority: number;
  inLine = false;

  /** @param creditBytes what the peer takes; Infinity for a lane. */
  constructor(stream: number, priority: number, capacityBytes: number, creditBytes: number) {
    this.stream = stream;
    this.priority = priority;
    this.#capacityBytes = capacityBytes;
    this.#credit = creditBytes;
    this.#queue = new BoundedQueue(Math.ceil(capacityBytes / MESSAGE_OVERHEAD_BYTES) + 1);
  }

  /** What is queued: bytes not sent, and {@link MESSAGE_OVERHEAD_BYTES} for each message. */
  get queuedBytes(): number {
    return this.#queuedCost;
  }

  /** Whether {@link push} takes a message. One message may exceed the capacity, so that any size can be sent. */
  get writable(): boolean {
    return this.#state === "open" && this.#queuedCost < this.#capacityBytes;
  }

  /** Whether `end` has been asked for. */
  get ending(): boolean {
    return this.#state !== "open";
  }

  /** Whether the end has been sent. */
  get ended(): boolean {
    return this.#state === "ended";
  }

  /** Whether there is something that could be sent now. */
  get sendable(): boolean {
    const message = this.#queue.peek();
    if (message === undefined) return this.#state === "ending";
    return !this.#blocked(message.length - this.#offset);
  }

  /** Queues a message; false when not {@link writable}. */
  push(message: Uint8Array): boolean {
    if (!this.writable) {
      this.#overfull = true;
      return false;
    }
    this.#queue.push(message);
    this.#queuedCost += message.length + MESSAGE_OVERHEAD_BYTES;
    if (this.#queuedCost >= this.#capacityBytes) this.#overfull = true;
    return true;
  }

  /** Sends the end after what is queued. */
  end(): void {
    if (this.#state === "open") this.#state = "ending";
  }

  /** The peer takes `bytes` more; false, and nothing changed, when that is more than `most` in all. */
  credit(bytes: number, most: number): boolean {
    if (this.#credit + bytes > most) return false;
    this.#credit += bytes;
    return true;
  }

  /** True once after the queue was full and has fallen to half. */
  takeWritable(): boolean {
    if (!this.#overfull || this.#queuedCost * 2 > this.#capacityBytes || this.#state !== "open") return false;
    this.#overfull = false;
    return true;
  }

  /** Begins a turn. */
  turn(): void {
    this.#allowance += TURN_BYTES;
  }

  /** Moves messages into `frame` until one of {@link Filled} stops it. */
  fill(frame: FrameWriter): Filled {
    for (;;) {
      const message = this.#queue.peek();
      if (message === undefined) return this.#finish(frame);
      if (this.#allowance <= 0) return "turn";
      const remaining = message.length - this.#offset;
      if (this.#blocked(remaining)) return "blocked";
      const room = frame.room;
      if (this.#offset === 0) {
        if (remaining + MAX_CHUNK_HEAD_BYTES <= room && remaining + MESSAGE_OVERHEAD_BYTES <= this.#credit) {
          frame.whole(this.stream, message);
          this.#sent(remaining, MESSAGE_OVERHEAD_BYTES);
          this.#shift();
          continue;
        }
        if (room * 2 < frame.emptyRoom && remaining + MAX_CHUNK_HEAD_BYTES <= frame.emptyRoom) return "full";
      }
      if (!this.#piece(frame, message, remaining, room)) return "full";
    }
  }

  /** Whether the credit does not allow a piece worth sending. */
  #blocked(remaining: number): boolean {
    const overhead = this.#offset === 0 ? MESSAGE_OVERHEAD_BYTES : 0;
    return this.#credit < overhead + Math.min(remaining, MIN_PIECE_BYTES);
  }

  #piece(frame: FrameWriter, message: Uint8Array, remaining: number, room: number): boolean {
    const overhead = this.#offset === 0 ? MESSAGE_OVERHEAD_BYTES : 0;
    // The first piece carries the length of the message: at most 4 bytes for 16 MiB.
    const head = MAX_CHUNK_HEAD_BYTES + (this.#offset === 0 ? 4 : 0);
    const length = Math.min(remaining, room - head, this.#credit - overhead);
    if (length < Math.min(remaining, MIN_PIECE_BYTES)) return false;
    const end = this.#offset + length;
    frame.piece(this.stream, message, this.#offset, end);
    this.#offset = end;
    this.#sent(length, overhead);
    if (length === remaining) this.#shift();
    return true;
  }

  #sent(length: number, overhead: number): void {
    this.#credit -= length + overhead;
    this.#allowance -= length + MAX_CHUNK_HEAD_BYTES;
    this.#queuedCost -= length;
  }

  #shift(): void {
    this.#queue.shift();
    this.#offset = 0;
    this.#queuedCost -= MESSAGE_OVERHEAD_BYTES;
  }

  #finish(frame: FrameWriter): Filled {
    this.#allowance = 0;
    if (this.#state !== "ending") return "empty";
    if (frame.room < FIN_BYTES) return "full";
    frame.control(this.stream, encodeStreamControl(this.stream, { op: "fin" }));
    this.#state = "ended";
    return "ended";
  }
}
