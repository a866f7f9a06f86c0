import { describe, expect, test } from "vitest";
import { FrameReader } from "../../../src/proto/streams/frame-reader.ts";
import { FrameWriter } from "../../../src/proto/streams/frame-writer.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Outbox } from "../../../src/proto/streams/outbox.ts";
import { laneClass, Scheduler, streamClass } from "../../../src/proto/streams/scheduler.ts";

const writer = new FrameWriter();

function outbox(
  scheduler: Scheduler,
  stream: number,
  priority: number,
  messages: readonly number[],
  credit = Infinity,
) {
  const box = new Outbox(stream, priority, 1_048_576, credit);
  for (const length of messages) box.push(new Uint8Array(length));
  scheduler.activate(box);
  return box;
}

/** The chunks of the next frame as [stream, kind, length]. */
function frame(scheduler: Scheduler, capacity = 16_384, touched: Outbox[] = []): number[][] {
  writer.begin(capacity);
  if (scheduler.fillUrgent(writer, touched, true)) scheduler.fill(writer, touched);
  const reader = new FrameReader();
  const chunks: number[][] = [];
  reader.begin(writer.finish());
  while (reader.next()) chunks.push([reader.stream, reader.kind, reader.end - reader.start]);
  return chunks;
}

describe("scheduler", () => {
  test("serves controls, probes, signals, gossip, data, then streams by priority", () => {
    const scheduler = new Scheduler();
    outbox(scheduler, 12, streamClass("bulk"), [10]);
    outbox(scheduler, 10, streamClass("normal"), [10]);
    outbox(scheduler, 8, streamClass("interactive"), [10]);
    outbox(scheduler, Lane.data, laneClass(Lane.data), [10]);
    outbox(scheduler, Lane.gossip, laneClass(Lane.gossip), [10]);
    outbox(scheduler, Lane.signal, laneClass(Lane.signal), [10]);
    outbox(scheduler, Lane.probe, laneClass(Lane.probe), [10]);
    scheduler.control(14, Uint8Array.of(58, 1, 5));
    expect(frame(scheduler).map(([stream]) => stream)).toEqual([14, 0, 2, 1, 3, 8, 10, 12]);
    expect(scheduler.urgent).toBe(false);
    expect(scheduler.pending).toBe(false);
  });

  test("small messages are packed, and one that does not fit in what is left of a frame waits for the next", () => {
    const scheduler = new Scheduler();
    outbox(scheduler, 1, 2, [600, 300, 300]);
    expect(frame(scheduler, 1_152)).toEqual([
      [1, 0, 600],
      [1, 0, 300],
    ]);
    expect(frame(scheduler, 1_152)).toEqual([[1, 0, 300]]);
  });

  test("a long message fills frames to the brim", () => {
    const scheduler = new Scheduler();
    outbox(scheduler, 8, 5, [3_000]);
    const frames = [frame(scheduler, 1_152), frame(scheduler, 1_152), frame(scheduler, 1_152)];
    // 2 bytes of the first piece are the length; up to 8 bytes are kept for the head.
    expect(frames).toEqual([[[8, 1, 1_141]], [[8, 1, 1_143]], [[8, 0, 718]]]);
  });

  test("a long message of a lower class does not hold up a probe that comes while it is being sent", () => {
    const scheduler = new Scheduler();
    outbox(scheduler, 8, 6, [100_000]);
    frame(scheduler);
    outbox(scheduler, Lane.probe, laneClass(Lane.probe), [20]);
    expect(frame(scheduler)[0]).toEqual([0, 0, 20]);
  });

  test("streams of one class share alike, whatever the size of their messages", () => {
    const scheduler = new Scheduler();
    outbox(scheduler, 8, 5, new Array<number>(4_000).fill(100));
    outbox(scheduler, 10, 5, [400_000]);
    outbox(scheduler, 12, 5, new Array<number>(40).fill(10_000));
    const bytes = new Map<number, number>();
    for (let count = 0; count < 40; count++)
      for (const [stream = -1, , length = 0] of frame(scheduler)) bytes.set(stream, (bytes.get(stream) ?? 0) + length);
    const shares = [...bytes.values()];
    expect(shares.length).toBe(3);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThan(2 * 16_384 + 2 * 10_000);
  });

  test("a stream without credit is passed over until it has some", () => {
    const scheduler = new Scheduler();
    const blocked = outbox(scheduler, 8, 4, [1_000], 100);
    outbox(scheduler, 10, 5, [50]);
    expect(frame(scheduler)).toEqual([[10, 0, 50]]);
    expect(scheduler.pending).toBe(false);
    expect(blocked.credit(2_000, 10_000)).toBe(true);
    scheduler.activate(blocked);
    expect(frame(scheduler)).toEqual([[8, 0, 1_000]]);
  });

  test("a message larger than the credit goes in pieces, none smaller than is worth it", () => {
    const scheduler = new Scheduler();
    const box = outbox(scheduler, 8, 4, [1_000], 64 + 600);
    // 600 bytes of the message and its length.
    expect(frame(scheduler)).toEqual([[8, 1, 602]]);
    box.credit(255, 10_000);
    scheduler.activate(box);
    expect(frame(scheduler)).toEqual([]);
    box.credit(1, 10_000);
    scheduler.activate(box);
    expect(frame(scheduler)).toEqual([[8, 1, 256]]);
    box.credit(144, 10_000);
    scheduler.activate(box);
    expect(frame(scheduler)).toEqual([[8, 0, 144]]);
  });

  test("the end of a stream follows its last message", () => {
    const scheduler = new Scheduler();
    const box = outbox(scheduler, 8, 4, [3]);
    box.end();
    const touched: Outbox[] = [];
    expect(frame(scheduler, 64, touched)).toEqual([
      [8, 0, 3],
      [8, 2, 1],
    ]);
    expect(touched).toEqual([box]);
    expect(box.ended).toBe(true);
    expect(box.push(new Uint8Array(1))).toBe(false);
  });

  test("controls that do not fit keep their order and go before anything else", () => {
    const scheduler = new Scheduler();
    for (let stream = 8; stream < 58; stream += 2) scheduler.control(stream, Uint8Array.of(stream * 2, 1, 5));
    outbox(scheduler, 1, 2, [5]);
    const seen = [...frame(scheduler, 64), ...frame(scheduler, 64)];
    expect(seen.length).toBe(26);
    expect(seen.at(-1)).toEqual([1, 0, 5]);
  });

  test("a queue that was full says once that it has room, at half", () => {
    const box = new Outbox(8, 4, 1_000, Infinity);
    for (let count = 0; count < 5; count++) expect(box.push(new Uint8Array(136))).toBe(true);
    expect(box.writable).toBe(false);
    expect(box.push(new Uint8Array(1))).toBe(false);
    const scheduler = new Scheduler();
    scheduler.activate(box);
    frame(scheduler, 400);
    expect(box.queuedBytes).toBe(600);
    expect(box.takeWritable()).toBe(false);
    frame(scheduler, 400);
    expect(box.takeWritable()).toBe(true);
    expect(box.takeWritable()).toBe(false);
  });
});
