import { MAX_FRAME_BYTES } from "../limits.ts";
import { FRAME_KIND } from "./chunk.ts";
import { MAX_STREAM_ID } from "./limits.ts";
import { NO_VARINT, readVarint, varintSize } from "./varint.ts";

const NO_BYTES = new Uint8Array(0);

/**
 * Walks over the chunks of one frame without allocating: `next` moves to a chunk and its fields describe it. Everything
 * is checked against the end of the frame before it is believed; what cannot be read ends the walk with `malformed`.
 */
export class FrameReader {
  /** The frame. */
  bytes: Uint8Array = NO_BYTES;
  /** Of the chunk: its stream, 0 to 2^31 - 1. */
  stream = 0;
  /** Of the chunk: the low two bits of its head; 3 means nothing. */
  kind = 0;
  /** Of the chunk: where its payload begins and ends in `bytes`. */
  start = 0;
  end = 0;
  /** Whether the walk ended before the end of the frame. */
  malformed = false;
  #next = 0;

  /** Begins the walk over `bytes`. */
  begin(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.#next = 1;
    this.malformed = bytes.length < 2 || bytes.length > MAX_FRAME_BYTES || bytes[0] !== FRAME_KIND;
  }

  /** Moves to the next chunk; false when there is none or it cannot be read. */
  next(): boolean {
    const bytes = this.bytes;
    const end = bytes.length;
    let at = this.#next;
    if (at >= end || this.malformed) return false;
    let head = bytes[at] as number;
    if (head < 0x80) at++;
    else {
      head = readVarint(bytes, at, end);
      if (head === NO_VARINT) return this.#malformed();
      at += varintSize(head);
    }
    if (at >= end) return this.#malformed();
    let length = bytes[at] as number;
    if (length < 0x80) at++;
    else {
      length = readVarint(bytes, at, end);
      if (length === NO_VARINT) return this.#malformed();
      at += varintSize(length);
    }
    if (length > end - at) return this.#malformed();
    this.kind = head & 3;
    this.stream = head < 0x8000_0000 ? head >>> 2 : Math.floor(head / 4);
    if (this.stream > MAX_STREAM_ID) return this.#malformed();
    this.start = at;
    this.end = at + length;
    this.#next = this.end;
    return true;
  }

  /** Lets go of the frame. */
  finish(): void {
    this.bytes = NO_BYTES;
  }

  #malformed(): false {
    this.malformed = true;
    return false;
  }
}
