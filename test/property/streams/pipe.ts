import { SeededRandom } from "../../../src/proto/random.ts";
import type { LinkInput, LinkOutput } from "../../../src/proto/streams/events.ts";
import { Link } from "../../../src/proto/streams/link.ts";

export type Side = "dialer" | "answerer";

export function other(side: Side): Side {
  return side === "dialer" ? "answerer" : "dialer";
}

/** The content of one message: its length and a seed say all of it. */
export function content(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const random = new SeededRandom(seed);
  for (let index = 0; index < length; index++) bytes[index] = random.u32() & 0xff;
  return bytes;
}

/**
 * Two links and an ordered pipe each way. Nothing moves by itself: a test says when a side flushes, how many frames
 * arrive, and how time passes; `settle` then lets everything run out.
 */
export class Pipe {
  readonly links: Readonly<Record<Side, Link>> = { dialer: new Link("dialer"), answerer: new Link("answerer") };
  /** Frames that each side has sent, and on which channel. */
  readonly inFlight: Readonly<Record<Side, { readonly channel: number; readonly bytes: Uint8Array }[]>> = {
    dialer: [],
    answerer: [],
  };
  /** The channel that each side uses: frames of an earlier one find nobody, those of a later one wait. */
  readonly channel: Record<Side, number> = { dialer: 0, answerer: 0 };
  /** The newest channel that passes nothing any more. */
  broken = -1;
  readonly onOutput: (side: Side, output: LinkOutput) => void;
  now = 1_000;

  constructor(onOutput: (side: Side, output: LinkOutput) => void) {
    this.onOutput = onOutput;
  }

  handle(side: Side, input: LinkInput): void {
    for (const output of this.links[side].handle(input, this.now)) {
      if (output.type === "frame") this.inFlight[side].push({ channel: this.channel[side], bytes: output.bytes });
      else this.onOutput(side, output);
    }
  }

  /** Delivers up to `count` frames that `from` has sent. */
  deliver(from: Side, count: number): void {
    const frames = this.inFlight[from];
    const to = other(from);
    for (let moved = 0; moved < count; moved++) {
      const frame = frames[0];
      if (frame === undefined || (frame.channel > this.channel[to] && frame.channel > this.broken)) return;
      frames.shift();
      if (frame.channel === this.channel[to] && frame.channel > this.broken)
        this.handle(to, { type: "frame", bytes: frame.bytes });
    }
  }

  flush(side: Side): void {
    this.handle(side, { type: "flush", bufferedBytes: 0 });
  }

  /** Whether nothing is in flight and no link wants to send. */
  get quiet(): boolean {
    return (["dialer", "answerer"] as const).every((side) => {
      const link = this.links[side];
      return (
        this.inFlight[side].length === 0 && link.outstandingBytes === 0 && !((link.deadline() ?? Infinity) <= this.now)
      );
    });
  }

  /** Runs until quiet, calling `pump` in every round; throws when that takes too long. */
  settle(pump: () => void): void {
    for (let round = 0; round < 20_000; round++) {
      pump();
      this.flush("dialer");
      this.flush("answerer");
      this.deliver("dialer", 64);
      this.deliver("answerer", 64);
      if (this.quiet) return;
      this.now += 0.5;
    }
    throw new Error("the pipe does not come to rest");
  }
}
