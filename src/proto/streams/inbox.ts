import { Kind } from "./chunk.ts";
import { MESSAGE_OVERHEAD_BYTES } from "./limits.ts";
import { NO_VARINT, readVarint, varintSize } from "./varint.ts";

/** Why a piece was refused; the rest of its message is skipped. */
export type InboxFault = "oversize-message" | "broken-message";

/** Memory set aside for a message on its first piece, at least; doubled as pieces come. */
const FIRST_ALLOCATION_BYTES = 16_384;

/**
 * Puts the pieces of one stream's messages together.
 *
 * The announced length is checked before anything is kept, but believed only as far as bytes have come: memory stays
 * within four times what the peer has sent, so announcing large messages on many streams costs it what it costs us.
 */
export class Inbox {
  readonly #maxMessageBytes: number;
  #state: "idle" | "assembling" | "skipping" = "idle";
  #buffer: Uint8Array | undefined;
  #length = 0;
  #total = 0;
  #cost = 0;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Whether no message is half received. */
  get idle(): boolean {
    return this.#state === "idle";
  }

  /**
   * Bytes of all pieces so far, and {@link MESSAGE_OVERHEAD_BYTES} for each message begun: what credit is measured in.
   */
  get cost(): number {
    return this.#cost;
  }

  /** What `cost` will be when the message that is half received is complete. */
  get expectedCost(): number {
    return this.#state === "assembling" ? this.#cost + this.#total - this.#length : this.#cost;
  }

  /** What the message that is half received costs in all; 0 when there is none. */
  get messageCost(): number {
    return this.#state === "assembling" ? this.#total + MESSAGE_OVERHEAD_BYTES : 0;
  }

  /**
   * Takes the piece from `start` to `end`: a complete message (a view or a buffer of its own), nothing yet, or a fault.
   */
  take(kind: number, bytes: Uint8Array, start: number, end: number): Uint8Array | InboxFault | undefined {
    if (this.#state === "idle") {
      if (kind === Kind.more) return this.#begin(bytes, start, end);
      this.#cost += end - start + MESSAGE_OVERHEAD_BYTES;
      if (end - start > this.#maxMessageBytes) return "oversize-message";
      return new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
    }
    const length = end - start;
    this.#cost += length;
    if (this.#state === "skipping") {
      if (kind === Kind.final) this.#state = "idle";
      return undefined;
    }
    const missing = this.#total - this.#length;
    // A piece that adds nothing, or that completes the message without saying so, would let a message last for ever.
    if (kind === Kind.final ? length !== missing : length === 0 || length >= missing) return this.#broken(kind);
    this.#append(bytes, start, end);
    if (kind === Kind.more) return undefined;
    const message = this.#buffer;
    this.#buffer = undefined;
    this.#state = "idle";
    return message;
  }

  #begin(bytes: Uint8Array, start: number, end: number): InboxFault | undefined {
    const total = readVarint(bytes, start, end);
    const from = total === NO_VARINT ? end : start + varintSize(total);
    this.#cost += end - from + MESSAGE_OVERHEAD_BYTES;
    if (from >= end || total <= end - from) return this.#broken(Kind.more);
    if (total > this.#maxMessageBytes) {
      this.#state = "skipping";
      return "oversize-message";
    }
    this.#state = "assembling";
    this.#total = total;
    this.#length = 0;
    this.#buffer = new Uint8Array(Math.min(total, Math.max(FIRST_ALLOCATION_BYTES, (end - from) * 4)));
    this.#append(bytes, from, end);
    return undefined;
  }

  #append(bytes: Uint8Array, start: number, end: number): void {
    let buffer = this.#buffer;
    const length = this.#length + end - start;
    if (buffer === undefined || buffer.length < length) {
      const larger = new Uint8Array(Math.min(this.#total, Math.max(length, (buffer?.length ?? 0) * 2)));
      if (buffer !== undefined) larger.set(buffer);
      buffer = larger;
      this.#buffer = larger;
    }
    buffer.set(new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start), this.#length);
    this.#length = length;
  }

  #broken(kind: number): InboxFault {
    this.#buffer = undefined;
    this.#state = kind === Kind.final ? "idle" : "skipping";
    return "broken-message";
  }
}
