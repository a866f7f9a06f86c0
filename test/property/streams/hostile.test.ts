import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeStreamControl } from "../../../src/proto/streams/control.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Link } from "../../../src/proto/streams/link.ts";
import { writeVarint } from "../../../src/proto/streams/varint.ts";
import { content, Pipe } from "./pipe.ts";

/** Hears `frames` one after another, flushing now and then; returns how many outputs and bytes to send there were. */
function hear(link: Link, frames: readonly Uint8Array[]): { outputs: number; bytes: number; dead: boolean } {
  let outputs = 0;
  let bytes = 0;
  let dead = false;
  for (const [index, frame] of frames.entries()) {
    const now = 1_000 + index;
    const all = [...link.handle({ type: "frame", bytes: frame }, now)];
    if (index % 3 === 2) all.push(...link.handle({ type: "flush", bufferedBytes: 0 }, now));
    for (const output of all) {
      outputs++;
      if (output.type === "frame") bytes += output.bytes.length;
      if (output.type === "dead") dead = true;
    }
  }
  return { outputs, bytes, dead };
}

const anyFrame = fc.uint8Array({ maxLength: 400 });
/** Bytes that begin like a frame, so that more of them get past the first check. */
const likelyFrame = anyFrame.map((bytes) => Uint8Array.of(0x10, ...bytes));

/** A conversation of every kind of chunk, as the frames of the dialer. */
function conversation(): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const pipe = new Pipe((side, output) => {
    if (output.type === "opened") later.push(() => pipe.handle(side, { type: "accept", stream: output.stream }));
  });
  const later: (() => void)[] = [];
  const turn = (): void => {
    for (const act of later.splice(0)) act();
    pipe.flush("dialer");
    frames.push(...pipe.inFlight.dialer.map(({ bytes }) => bytes.slice()));
    pipe.deliver("dialer", 100);
    pipe.flush("answerer");
    pipe.deliver("answerer", 100);
    pipe.now += 3;
  };
  pipe.handle("dialer", { type: "open", protocol: "p/1" });
  pipe.handle("dialer", { type: "ping", id: 1 });
  for (const stream of [Lane.probe, Lane.gossip, Lane.signal, Lane.data, 8])
    for (const size of [0, 10, 300]) pipe.handle("dialer", { type: "send", stream, bytes: content(size, size) });
  turn();
  pipe.handle("dialer", { type: "send", stream: 8, bytes: content(9_000, 2) });
  pipe.handle("dialer", { type: "send", stream: Lane.data, bytes: content(20_000, 3) });
  pipe.handle("answerer", { type: "open", protocol: "q/1" });
  for (let count = 0; count < 6; count++) turn();
  pipe.handle("dialer", { type: "end", stream: 8 });
  pipe.handle("dialer", { type: "reset", stream: 9, code: 20 });
  pipe.handle("dialer", { type: "goodbye", reason: "leaving" });
  turn();
  return frames;
}

describe("a link that hears anything", () => {
  test("never throws on arbitrary bytes, and answers little", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(anyFrame, likelyFrame), { maxLength: 40 }), (frames) => {
        const heard = frames.reduce((sum, frame) => sum + frame.length, 0);
        const { outputs, bytes } = hear(new Link("answerer"), frames);
        expect(outputs).toBeLessThanOrEqual(heard + frames.length + 20);
        expect(bytes).toBeLessThanOrEqual(heard * 4 + 20 * frames.length + 64);
      }),
      { numRuns: 500 },
    );
  });

  test("never throws on a real conversation with bytes changed, cut, repeated or reordered", () => {
    const frames = conversation();
    expect(frames.length).toBeGreaterThan(5);
    const change = fc.record({ frame: fc.nat(), at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) });
    const move = fc.record({ from: fc.nat(), to: fc.nat() });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 6 }),
        fc.array(move, { maxLength: 3 }),
        fc.option(change, { nil: undefined }),
        (changes, moves, cut) => {
          const heard = frames.map((bytes) => bytes.slice());
          for (const { frame, at, value } of changes) {
            const bytes = heard[frame % heard.length];
            if (bytes !== undefined) bytes[at % bytes.length] = value;
          }
          for (const { from, to } of moves)
            heard.splice(to % heard.length, 0, ...heard.slice(from % heard.length, (from % heard.length) + 1));
          if (cut !== undefined) {
            const index = cut.frame % heard.length;
            heard[index] = (heard[index] ?? new Uint8Array()).subarray(0, cut.at % 400);
          }
          hear(new Link("answerer"), heard);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("keeps little for 1,024 streams that all announce 16 MiB and send a byte", () => {
    const link = new Link("answerer");
    const before = process.memoryUsage().arrayBuffers;
    for (let stream = 8; stream < 8 + 2 * 1_024; stream += 2) {
      const open = encodeStreamControl(stream, {
        op: "open",
        windowBytes: 65_536,
        priority: "normal",
        protocol: "p/1",
      });
      link.handle({ type: "frame", bytes: Uint8Array.of(0x10, ...open) }, 1_000);
      link.handle({ type: "accept", stream }, 1_000);
      // The first piece of a message of 16 MiB: one byte of it.
      const piece = new Uint8Array(16);
      piece[0] = 0x10;
      const at = writeVarint(piece, 1, stream * 4 + 1);
      piece.set([5, 0x80, 0x80, 0x80, 8, 1], at);
      expect(link.handle({ type: "frame", bytes: piece.slice(0, at + 6) }, 1_000)).toEqual([]);
      link.handle({ type: "flush", bufferedBytes: 0 }, 1_000);
    }
    expect(link.streamCount).toBe(1_024);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1_048_576);
  });
});
