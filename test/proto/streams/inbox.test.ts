import { describe, expect, test } from "vitest";
import { Kind } from "../../../src/proto/streams/chunk.ts";
import { Inbox } from "../../../src/proto/streams/inbox.ts";

function take(inbox: Inbox, kind: number, bytes: readonly number[]): unknown {
  const taken = inbox.take(kind, Uint8Array.from([0, ...bytes, 0]), 1, 1 + bytes.length);
  return taken instanceof Uint8Array ? [...taken] : taken;
}

describe("inbox", () => {
  test("a whole message is a view of its frame", () => {
    const frame = Uint8Array.of(1, 2, 3, 4);
    const message = new Inbox(10).take(Kind.final, frame, 1, 3) as Uint8Array;
    expect([...message]).toEqual([2, 3]);
    expect(message.buffer).toBe(frame.buffer);
  });

  test("pieces become one message in memory of its own size", () => {
    const inbox = new Inbox(100_000);
    const message = Uint8Array.from({ length: 70_000 }, (_, index) => index % 251);
    const first = Uint8Array.of(0xf0, 0xa2, 4, ...message.subarray(0, 300));
    expect(inbox.take(Kind.more, first, 0, first.length)).toBeUndefined();
    expect(inbox.idle).toBe(false);
    expect(inbox.expectedCost).toBe(70_064);
    for (let at = 300; at < 69_300; at += 1_000) expect(inbox.take(Kind.more, message, at, at + 1_000)).toBeUndefined();
    const whole = inbox.take(Kind.final, message, 69_300, 70_000) as Uint8Array;
    expect(Buffer.compare(whole, message)).toBe(0);
    expect(whole.buffer.byteLength).toBe(70_000);
    expect(inbox.idle).toBe(true);
    expect(inbox.cost).toBe(70_064);
  });

  test("an announced length is believed only as far as bytes come", () => {
    const inbox = new Inbox(16_777_216);
    const before = process.memoryUsage().arrayBuffers;
    const boxes = Array.from({ length: 100 }, () => new Inbox(16_777_216));
    // 16 MiB announced, one byte sent.
    for (const box of [inbox, ...boxes]) expect(take(box, Kind.more, [0x80, 0x80, 0x80, 8, 1])).toBeUndefined();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(101 * 16_384 + 1_048_576);
  });

  test("a message that is too long is refused at its first piece and skipped to its end", () => {
    const inbox = new Inbox(100);
    expect(take(inbox, Kind.more, [101, 1, 2])).toBe("oversize-message");
    expect(take(inbox, Kind.more, [3])).toBeUndefined();
    expect(take(inbox, Kind.final, [4])).toBeUndefined();
    expect(take(inbox, Kind.final, [5])).toEqual([5]);
    expect(take(inbox, Kind.final, new Array<number>(101).fill(0))).toBe("oversize-message");
  });

  test.each([
    ["a first piece without a length", []],
    ["a length cut short", [0x80]],
    ["a length without a piece", [5]],
    ["a first piece as long as the message", [2, 1, 1]],
  ])("%s breaks the message", (_, first) => {
    const inbox = new Inbox(100);
    expect(take(inbox, Kind.more, first)).toBe("broken-message");
    expect(take(inbox, Kind.final, [1])).toBeUndefined();
    expect(take(inbox, Kind.final, [2])).toEqual([2]);
  });

  test("pieces that do not add up break the message", () => {
    const short = new Inbox(100);
    take(short, Kind.more, [4, 1]);
    expect(take(short, Kind.final, [2])).toBe("broken-message");
    expect(take(short, Kind.final, [3])).toEqual([3]);
    const long = new Inbox(100);
    take(long, Kind.more, [4, 1]);
    expect(take(long, Kind.more, [2, 3, 4])).toBe("broken-message");
    const idle = new Inbox(100);
    take(idle, Kind.more, [4, 1]);
    expect(take(idle, Kind.more, [])).toBe("broken-message");
  });
});
