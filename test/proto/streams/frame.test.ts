import { describe, expect, test } from "vitest";
import { FrameReader } from "../../../src/proto/streams/frame-reader.ts";
import { FrameWriter } from "../../../src/proto/streams/frame-writer.ts";

function chunks(bytes: Uint8Array): { chunks: unknown[]; malformed: boolean } {
  const reader = new FrameReader();
  const found: unknown[] = [];
  reader.begin(bytes);
  while (reader.next()) found.push([reader.stream, reader.kind, [...bytes.subarray(reader.start, reader.end)]]);
  return { chunks: found, malformed: reader.malformed };
}

describe("frame", () => {
  test("holds whole messages back to back behind one byte", () => {
    const writer = new FrameWriter();
    writer.begin(1_024);
    writer.whole(1, Uint8Array.of(7, 8));
    writer.whole(3, Uint8Array.of());
    writer.whole(8, Uint8Array.of(9));
    expect([...writer.finish()]).toEqual([0x10, 4, 2, 7, 8, 12, 0, 32, 1, 9]);
  });

  test("the first of several pieces begins with the length of the whole", () => {
    const message = Uint8Array.from({ length: 300 }, (_, index) => index & 0xff);
    const writer = new FrameWriter();
    writer.begin(1_024);
    writer.piece(8, message, 0, 3);
    writer.piece(8, message, 3, 5);
    writer.piece(8, message, 298, 300);
    expect([...writer.finish()]).toEqual([0x10, 33, 5, 0xac, 2, 0, 1, 2, 33, 2, 3, 4, 32, 2, 42, 43]);
  });

  test("counts as numbered once it holds a chunk of any stream but 0", () => {
    const writer = new FrameWriter();
    writer.begin(64);
    expect(writer.empty).toBe(true);
    writer.whole(0, Uint8Array.of(1));
    writer.control(0, Uint8Array.of(2, 2, 17, 0));
    expect(writer.numbered).toBe(false);
    writer.control(8, Uint8Array.of(34, 1, 5));
    expect(writer.numbered).toBe(true);
    writer.begin(64);
    expect(writer.numbered).toBe(false);
  });

  test("a control that does not fit is left out", () => {
    const writer = new FrameWriter();
    writer.begin(64);
    expect(writer.control(0, new Uint8Array(63))).toBe(true);
    expect(writer.control(0, new Uint8Array(1))).toBe(false);
    expect(writer.finish().length).toBe(64);
  });

  test("a frame that has gone out is not written to again", () => {
    const writer = new FrameWriter();
    const frames = [10, 9_000, 16_000, 10].map((length, index) => {
      writer.begin(16_384);
      writer.whole(1, new Uint8Array(length).fill(index + 1));
      return writer.finish();
    });
    for (const [index, frame] of frames.entries()) expect(frame.at(-1)).toBe(index + 1);
    expect(new Set(frames.map((frame) => frame.buffer)).size).toBe(4);
    expect(frames[0]?.buffer.byteLength).toBeLessThan(64);
  });

  test("is read back chunk by chunk, large stream numbers included", () => {
    const writer = new FrameWriter();
    writer.begin(1_024);
    writer.whole(2_147_483_647, Uint8Array.of(5));
    writer.whole(0, new Uint8Array(200).fill(1));
    expect(chunks(writer.finish())).toEqual({
      chunks: [
        [2_147_483_647, 0, [5]],
        [0, 0, new Array<number>(200).fill(1)],
      ],
      malformed: false,
    });
  });

  test.each([
    ["is empty", []],
    ["is its kind alone", [0x10]],
    ["is of another kind", [0x11, 4, 0]],
    ["ends within a head", [0x10, 0x84]],
    ["ends behind a head", [0x10, 4]],
    ["ends within a length", [0x10, 4, 0x80]],
    ["ends before its payload does", [0x10, 4, 2, 7]],
    ["names a stream beyond 2^31 - 1", [0x10, 0x80, 0x80, 0x80, 0x80, 0x20, 0]],
    ["has a length beyond 2^53", [0x10, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]],
  ])("that %s is malformed", (_, bytes) => {
    expect(chunks(Uint8Array.from(bytes)).malformed).toBe(true);
  });

  test("longer than 64 KiB is malformed", () => {
    const bytes = new Uint8Array(65_537);
    bytes[0] = 0x10;
    expect(chunks(bytes)).toEqual({ chunks: [], malformed: true });
  });

  test("what comes before the malformed chunk is read", () => {
    expect(chunks(Uint8Array.of(0x10, 4, 1, 7, 4, 9))).toEqual({ chunks: [[1, 0, [7]]], malformed: true });
  });
});
