import { describe, expect, test } from "vitest";
import { NO_VARINT, readVarint, varintSize, writeVarint } from "../../../src/proto/streams/varint.ts";

const SAMPLES: readonly (readonly [number, readonly number[]])[] = [
  [0, [0]],
  [127, [0x7f]],
  [128, [0x80, 1]],
  [16_383, [0xff, 0x7f]],
  [16_384, [0x80, 0x80, 1]],
  [0x7fff_ffff, [0xff, 0xff, 0xff, 0xff, 7]],
  [0x8000_0000, [0x80, 0x80, 0x80, 0x80, 8]],
  [Number.MAX_SAFE_INTEGER, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]],
];

describe("varint", () => {
  test.each(SAMPLES)("writes %d in its shortest form and reads it back", (value, expected) => {
    const bytes = new Uint8Array(10);
    expect(writeVarint(bytes, 1, value)).toBe(1 + expected.length);
    expect([...bytes.subarray(1, 1 + expected.length)]).toEqual(expected);
    expect(varintSize(value)).toBe(expected.length);
    expect(readVarint(bytes, 1, 10)).toBe(value);
  });

  test("a value that is cut short is none", () => {
    expect(readVarint(Uint8Array.of(0x80, 0x80), 0, 2)).toBe(NO_VARINT);
    expect(readVarint(Uint8Array.of(0x80, 1), 0, 1)).toBe(NO_VARINT);
    expect(readVarint(Uint8Array.of(), 0, 0)).toBe(NO_VARINT);
  });

  test("a longer form than needed is none, so that every value has one length", () => {
    expect(readVarint(Uint8Array.of(0x80, 0), 0, 2)).toBe(NO_VARINT);
    expect(readVarint(Uint8Array.of(0xff, 0x80, 0), 0, 3)).toBe(NO_VARINT);
  });

  test("a value beyond 2^53 - 1, or without end, is none", () => {
    expect(readVarint(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f), 0, 8)).toBe(NO_VARINT);
    expect(readVarint(new Uint8Array(64).fill(0xff), 0, 64)).toBe(NO_VARINT);
  });
});
