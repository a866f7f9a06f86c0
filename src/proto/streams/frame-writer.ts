import { MAX_FRAME_BYTES } from "../limits.ts";
import { FRAME_KIND, Kind } from "./chunk.ts";
import { varintSize, writeVarint } from "./varint.ts";

/**
 * Fills one frame after another. Payload is copied once, straight into the memory of the frame that goes out.
 *
 * Frames are built in a spare buffer of full size. One that ends up at least half full takes the buffer with it; a
 * smaller one is cut out as a copy of its own, so that a probe of 40 bytes does not pin 64 KiB. The spare is shared by
 * all links: nothing of it survives a call of `finish`, and a frame is always begun and finished within one input of
 * one machine.
 */
let spare = new Uint8Array(MAX_FRAME_BYTES);

/** Below this many bytes a loop copies faster than the engine's built-in. */
const LOOP_COPY_BYTES = 24;

export class FrameWriter {
  #capacity = 0;
  #offset = 0;
  #numbered = false;

  /** Begins a frame of at most `capacity` bytes, 64 to {@link MAX_FRAME_BYTES}. */
  begin(capacity: number): void {
    this.#capacity = capacity;
    this.#offset = 1;
    this.#numbered = false;
    spare[0] = FRAME_KIND;
  }

  /** Bytes left. */
  get room(): number {
    return this.#capacity - this.#offset;
  }

  /** Bytes that a frame of this capacity has for chunks. */
  get emptyRoom(): number {
    return this.#capacity - 1;
  }

  /** Whether it holds no chunk yet. */
  get empty(): boolean {
    return this.#offset === 1;
  }

  /** Whether it counts (`chunk.ts`). */
  get numbered(): boolean {
    return this.#numbered;
  }

  /** Appends an encoded control chunk if it fits; `stream` is the one it belongs to. */
  control(stream: number, chunk: Uint8Array): boolean {
    if (chunk.length > this.room) return false;
    spare.set(chunk, this.#offset);
    this.#offset += chunk.length;
    if (stream !== 0) this.#numbered = true;
    return true;
  }

  /** Appends a whole message. The caller has made sure of the room. */
  whole(stream: number, message: Uint8Array): void {
    const length = message.length;
    let at = this.#head(stream, Kind.final, length);
    this.#offset = at + length;
    if (length > LOOP_COPY_BYTES) spare.set(message, at);
    else for (let index = 0; index < length; index++) spare[at++] = message[index] as number;
  }

  /**
   * Appends `message` from `start` to `end`: the first of several pieces if `start` is 0, the last if `end` is its
   * length.
   */
  piece(stream: number, message: Uint8Array, start: number, end: number): void {
    const prefix = start === 0 ? varintSize(message.length) : 0;
    const kind = end === message.length ? Kind.final : Kind.more;
    let at = this.#head(stream, kind, prefix + end - start);
    if (prefix > 0) at = writeVarint(spare, at, message.length);
    spare.set(message.subarray(start, end), at);
    this.#offset = at + end - start;
  }

  /** Ends the frame and gives its bytes away. */
  finish(): Uint8Array {
    const length = this.#offset;
    if (length * 2 < spare.length) return spare.slice(0, length);
    const whole = spare;
    spare = new Uint8Array(MAX_FRAME_BYTES);
    return length === whole.length ? whole : whole.subarray(0, length);
  }

  #head(stream: number, kind: number, length: number): number {
    if (stream !== 0) this.#numbered = true;
    return writeVarint(spare, writeVarint(spare, this.#offset, stream * 4 + kind), length);
  }
}
