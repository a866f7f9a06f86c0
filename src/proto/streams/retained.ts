import { assert } from "../assert.ts";
import { FILLER_STREAM, FRAME_KIND, LANES } from "./chunk.ts";
import { FrameReader } from "./frame-reader.ts";

/**
 * The numbered frames that the peer has not acknowledged, as they were sent: what another channel has to repeat. Its owner
 * bounds it by bounding what may be outstanding.
 */
export class Retained {
  #frames: (Uint8Array | undefined)[] = [];
  #head = 0;
  #acknowledged = 0;
  #bytes = 0;
  /** The last frame whose lanes are not to be repeated. */
  #lanesCutAt = 0;
  readonly #reader = new FrameReader();

  /** Numbered frames sent since the session began. */
  get framesSent(): number {
    return this.#acknowledged + this.#frames.length - this.#head;
  }

  /** Of those, how many the peer has. */
  get framesAcknowledged(): number {
    return this.#acknowledged;
  }

  /** Bytes kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps the next numbered frame. */
  add(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#bytes += frame.length;
  }

  /** The peer has the first `frames`: no fewer than before, at most those sent. */
  acknowledged(frames: number): void {
    assert(
      frames >= this.#acknowledged && frames <= this.framesSent,
      "frames are acknowledged once, after they are sent",
    );
    for (; this.#acknowledged < frames; this.#acknowledged++) {
      this.#bytes -= this.#frames[this.#head]?.length ?? 0;
      this.#frames[this.#head++] = undefined;
    }
    if (this.#head === this.#frames.length) {
      this.#frames.length = 0;
      this.#head = 0;
    } else if (this.#head > 64 && this.#head * 2 > this.#frames.length) {
      this.#frames = this.#frames.slice(this.#head);
      this.#head = 0;
    }
  }

  /** What the lanes have sent so far is nobody's any more. */
  cutLanes(): void {
    this.#lanesCutAt = this.framesSent;
  }

  /**
   * Frame `number`, which is not acknowledged, as it is to be repeated: without what belonged to the channel it was sent on
   * (acknowledgements, pings, probes), without lanes that were cut, and with a filler if nothing is left, for it counts.
   */
  repeated(number: number): Uint8Array {
    const frame = this.#frames[this.#head + number - this.#acknowledged - 1];
    assert(frame !== undefined, "only what is not acknowledged is repeated");
    const reader = this.#reader;
    const first = number > this.#lanesCutAt ? 1 : LANES;
    const kept = new Uint8Array(Math.max(frame.length, FILLER_FRAME.length));
    let length = 1;
    let from = 1;
    kept[0] = FRAME_KIND;
    reader.begin(frame);
    for (; reader.next(); from = reader.end) {
      if (reader.stream < first) continue;
      kept.set(frame.subarray(from, reader.end), length);
      length += reader.end - from;
    }
    reader.finish();
    if (length > 1) return kept.subarray(0, length);
    kept.set(FILLER_FRAME);
    return kept.subarray(0, FILLER_FRAME.length);
  }
}

/** One empty chunk of the stream that says nothing. */
const FILLER_FRAME = Uint8Array.of(FRAME_KIND, FILLER_STREAM << 2, 0);
