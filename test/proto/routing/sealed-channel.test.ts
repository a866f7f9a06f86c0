import fc from "fast-check";
import { expect, test } from "vitest";
import {
  channelContext,
  fingerprintOf,
  OVERHEAD_BYTES,
  SealedChannel,
} from "../../../src/proto/routing/sealed-channel.ts";

const secret = new Uint8Array(32).fill(1);
const context = channelContext(new Uint8Array(16), new Uint8Array(32).fill(2), new Uint8Array(32).fill(3));
const ends = () =>
  [new SealedChannel(secret, "dialer", context), new SealedChannel(secret, "answerer", context)] as const;

test("frames arrive as they were sealed, both ways, in order", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (frames) => {
      const [dialer, answerer] = ends();
      for (const frame of frames) {
        const record = dialer.seal(frame);
        expect(record).toHaveLength(frame.length + OVERHEAD_BYTES);
        expect(answerer.open(record)).toEqual(frame);
        expect(dialer.open(answerer.seal(frame))).toEqual(frame);
      }
    }),
  );
});

test("a record that was altered anywhere does not open", () => {
  for (let at = 0; at < 40 + OVERHEAD_BYTES; at++) {
    const [dialer, answerer] = ends();
    const record = dialer.seal(new Uint8Array(40));
    record[at] = (record[at] as number) ^ 1;
    expect(answerer.open(record)).toBeUndefined();
  }
});

test("a record that is repeated, left out, out of order or sent back does not open", () => {
  const [dialer, answerer] = ends();
  const [first, second, third] = [
    dialer.seal(Uint8Array.of(1)),
    dialer.seal(Uint8Array.of(2)),
    dialer.seal(Uint8Array.of(3)),
  ];
  expect(ends()[1].open(second)).toBeUndefined();
  expect(answerer.open(first)).toEqual(Uint8Array.of(1));
  expect(answerer.open(first)).toBeUndefined();
  const another = ends()[1];
  expect(another.open(first)).toEqual(Uint8Array.of(1));
  expect(another.open(third)).toBeUndefined();
  expect(ends()[0].open(first)).toBeUndefined();
  expect(ends()[1].open(new Uint8Array(OVERHEAD_BYTES - 1))).toBeUndefined();
});

test("equal frames give different records, and other keys or another secret open none", () => {
  const [dialer] = ends();
  const record = dialer.seal(new Uint8Array(8));
  expect(dialer.seal(new Uint8Array(8))).not.toEqual(record);
  const other = channelContext(new Uint8Array(16), new Uint8Array(32).fill(3), new Uint8Array(32).fill(2));
  expect(new SealedChannel(secret, "answerer", other).open(record)).toBeUndefined();
  expect(new SealedChannel(new Uint8Array(32).fill(9), "answerer", context).open(record)).toBeUndefined();
});

test("a fingerprint names the channel and the key", () => {
  const prints = [
    fingerprintOf(new Uint8Array(16), new Uint8Array(32)),
    fingerprintOf(new Uint8Array(16).fill(1), new Uint8Array(32)),
    fingerprintOf(new Uint8Array(16), new Uint8Array(32).fill(1)),
  ].map(String);
  expect(new Set(prints).size).toBe(3);
});
