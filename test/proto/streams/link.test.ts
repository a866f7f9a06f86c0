import { describe, expect, test } from "vitest";
import { AssertionFailure } from "../../../src/proto/assert.ts";
import type { LinkOutput } from "../../../src/proto/streams/events.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Link } from "../../../src/proto/streams/link.ts";
import { Path } from "./path.ts";

function flush(link: Link, now: number): readonly LinkOutput[] {
  return link.handle({ type: "flush", bufferedBytes: 0 }, now);
}

function frames(outputs: readonly LinkOutput[]): Uint8Array[] {
  return outputs.flatMap((output) => (output.type === "frame" ? [output.bytes] : []));
}

/** A path of 10 ms and 100 Mbit/s between two idle links, and what comes out of them. */
function world(): { path: Path; seen: (readonly [string, LinkOutput])[] } {
  const path = new Path({ bytesPerMs: 12_500, rttMs: 10 });
  const seen: (readonly [string, LinkOutput])[] = [];
  path.dialer.onOutput = (output) => seen.push(["dialer", output]);
  path.answerer.onOutput = (output) => seen.push(["answerer", output]);
  return { path, seen };
}

describe("link", () => {
  test("queues a message without an effect and wants a flush at once", () => {
    const link = new Link("dialer");
    expect(link.deadline()).toBeUndefined();
    expect(link.handle({ type: "send", stream: Lane.gossip, bytes: Uint8Array.of(7) }, 5)).toEqual([]);
    expect(link.deadline()).toBe(5);
    expect(flush(link, 5)).toEqual([{ type: "frame", bytes: Uint8Array.of(0x10, 4, 1, 7), number: 1 }]);
    // A numbered frame is a question; the path has not yet shown that it does not stall.
    expect(link.deadline()).toBe(2_755);
  });

  test("packs what is queued in one turn into one frame, by priority", () => {
    const link = new Link("dialer");
    for (const stream of [Lane.data, Lane.gossip, Lane.signal, Lane.probe])
      link.handle({ type: "send", stream, bytes: Uint8Array.of(stream) }, 0);
    expect(frames(flush(link, 0))).toEqual([Uint8Array.of(0x10, 0, 1, 0, 8, 1, 2, 4, 1, 1, 12, 1, 3)]);
  });

  test("a message and its frame come apart again as they were, the empty one included", () => {
    const dialer = new Link("dialer");
    const answerer = new Link("answerer");
    dialer.handle({ type: "send", stream: Lane.signal, bytes: Uint8Array.of() }, 0);
    dialer.handle({ type: "send", stream: Lane.signal, bytes: Uint8Array.of(1, 2) }, 0);
    const [frame = new Uint8Array()] = frames(flush(dialer, 0));
    expect(answerer.handle({ type: "frame", bytes: frame }, 1)).toEqual([
      { type: "message", stream: Lane.signal, bytes: Uint8Array.of() },
      { type: "message", stream: Lane.signal, bytes: Uint8Array.of(1, 2) },
    ]);
    expect(answerer.framesReceived).toBe(1);
    expect(answerer.deadline()).toBe(3);
    expect(frames(answerer.handle({ type: "timeout" }, 3))).toEqual([Uint8Array.of(0x10, 2, 3, 16, 1, 20)]);
    expect(answerer.deadline()).toBeUndefined();
  });

  test("a probe and its answer are one frame each, and nothing follows", () => {
    const { path } = world();
    path.answerer.onOutput = (output) => {
      if (output.type === "message") path.answerer.handle({ type: "send", stream: Lane.probe, bytes: output.bytes });
    };
    for (let round = 0; round < 10; round++) {
      path.dialer.handle({ type: "send", stream: Lane.probe, bytes: new Uint8Array(30) });
      path.run(500);
    }
    expect([path.dialer.frames, path.answerer.frames]).toEqual([10, 10]);
    expect(path.dialer.link.framesSent).toBe(0);
  });

  test("an idle link without streams sends nothing for an hour", () => {
    const { path } = world();
    path.dialer.handle({ type: "flush", bufferedBytes: 0 });
    path.run(3_600_000);
    expect(path.dialer.frames + path.answerer.frames).toBe(0);
  });

  test("an acknowledgement rides on a frame that goes out anyway", () => {
    const { path } = world();
    path.answerer.onOutput = (output) => {
      if (output.type === "message") path.answerer.handle({ type: "send", stream: Lane.signal, bytes: output.bytes });
    };
    path.dialer.handle({ type: "send", stream: Lane.signal, bytes: Uint8Array.of(1) });
    path.run(100);
    // The answer carries one acknowledgement; the other comes by itself.
    expect([path.dialer.frames, path.answerer.frames]).toEqual([2, 1]);
    expect([path.dialer.link.framesAcknowledged, path.answerer.link.framesAcknowledged]).toEqual([1, 1]);
    expect(path.dialer.link.outstandingBytes).toBe(0);
    expect(path.dialer.link.rttMs).toBeCloseTo(10, 0);
  });

  test("a ping comes back with its round trip", () => {
    const { path, seen } = world();
    expect(path.dialer.link.minRttMs).toBeUndefined();
    path.dialer.handle({ type: "ping", id: 42 });
    path.run(50);
    expect(seen).toEqual([["dialer", { type: "pong", id: 42, rttMs: expect.closeTo(10, 2) }]]);
    expect(path.dialer.link.minRttMs).toBeCloseTo(10, 2);
    expect([path.dialer.frames, path.answerer.frames]).toEqual([1, 1]);
  });

  test("an unanswered ping gives up the channel of an otherwise silent link, and two minutes later the session", () => {
    const { path, seen } = world();
    path.dialer.direction.cut = true;
    path.dialer.handle({ type: "ping", id: 1 });
    path.run(4_000);
    expect(seen.splice(0)).toEqual([["dialer", { type: "detached", reason: "silent" }]]);
    path.run(118_000);
    expect(seen).toEqual([]);
    path.run(2_000);
    expect(seen).toEqual([["dialer", { type: "dead", reason: "forsaken" }]]);
    expect(path.dialer.link.deadline()).toBeUndefined();
    expect(path.dialer.link.handle({ type: "ping", id: 2 }, path.now)).toEqual([]);
  });

  test("a lane that is full drops what is sent to it, says so, and says when it has room", () => {
    const link = new Link("dialer");
    const bytes = new Uint8Array(8_000);
    let taken = 0;
    while (link.writable(Lane.probe)) {
      link.handle({ type: "send", stream: Lane.probe, bytes }, 0);
      taken++;
    }
    expect(taken).toBe(9);
    expect(link.queuedBytes(Lane.probe)).toBe(9 * 8_064);
    expect(link.handle({ type: "send", stream: Lane.probe, bytes }, 0)).toEqual([
      { type: "dropped", stream: Lane.probe, bytes: 8_000 },
    ]);
    const outputs = flush(link, 0);
    expect(outputs.filter(({ type }) => type === "writable")).toEqual([{ type: "writable", stream: Lane.probe }]);
    expect(link.queuedBytes(Lane.probe)).toBe(0);
  });

  test("what is too long for a lane, or sent to a stream that cannot be, is the driver's mistake", () => {
    const link = new Link("dialer");
    const send = (stream: number, length: number) => () =>
      link.handle({ type: "send", stream, bytes: new Uint8Array(length) }, 0);
    expect(send(Lane.data, 262_144)).not.toThrow();
    expect(send(Lane.data, 262_145)).toThrow(AssertionFailure);
    expect(send(5, 1)).toThrow(AssertionFailure);
    // A stream that is gone is not: its end may just have been reported.
    expect(send(8, 1)).not.toThrow();
  });

  test("while the stack says that it is full only urgent messages go, and the link looks again by itself", () => {
    const link = new Link("dialer", { maxBufferedBytes: 1_000 });
    link.handle({ type: "send", stream: Lane.data, bytes: Uint8Array.of(1) }, 0);
    link.handle({ type: "send", stream: Lane.probe, bytes: Uint8Array.of(2) }, 0);
    expect(frames(link.handle({ type: "flush", bufferedBytes: 1_001 }, 0))).toEqual([Uint8Array.of(0x10, 0, 1, 2)]);
    expect(link.deadline()).toBe(5);
    // Without a figure the last one holds.
    expect(frames(link.handle({ type: "timeout" }, 5))).toEqual([]);
    expect(link.deadline()).toBe(10);
    expect(frames(link.handle({ type: "timeout", bufferedBytes: 1_000 }, 10))).toEqual([Uint8Array.of(0x10, 12, 1, 1)]);
  });

  test("no more frames are in flight than the stack bears, and acknowledgements make room", () => {
    const link = new Link("dialer", { maxFrames: 4 });
    for (let count = 0; count < 40; count++)
      link.handle({ type: "send", stream: Lane.data, bytes: new Uint8Array(4_000) }, 0);
    const sent = frames(flush(link, 0));
    expect(sent.length).toBe(4);
    expect(link.deadline()).toBeGreaterThan(0);
    expect(frames(flush(link, 0))).toEqual([]);
    const peer = new Link("answerer");
    for (const bytes of sent) peer.handle({ type: "frame", bytes }, 5);
    for (const bytes of frames(peer.handle({ type: "timeout" }, 7))) link.handle({ type: "frame", bytes }, 10);
    expect(link.deadline()).toBe(10);
    expect(frames(flush(link, 10)).length).toBe(4);
  });

  test("a drain is reported once everything is acknowledged, at once if nothing is under way", () => {
    const { path, seen } = world();
    path.dialer.handle({ type: "drain" });
    expect(seen).toEqual([["dialer", { type: "drained" }]]);
    seen.length = 0;
    path.dialer.handle({ type: "send", stream: Lane.data, bytes: new Uint8Array(200_000) });
    path.dialer.handle({ type: "drain" });
    path.run(20);
    expect(seen.some(([, output]) => output.type === "drained")).toBe(false);
    path.run(500);
    expect(seen.map(([end, { type }]) => [end, type])).toEqual([
      ["answerer", "message"],
      ["dialer", "drained"],
    ]);
  });

  test("a goodbye goes ahead of what is queued", () => {
    const { path, seen } = world();
    path.dialer.handle({ type: "send", stream: Lane.data, bytes: new Uint8Array(200_000) });
    path.dialer.handle({ type: "goodbye", reason: "leaving" });
    path.run(1_000);
    expect(seen[0]).toEqual(["answerer", { type: "goodbye", reason: "leaving" }]);
  });

  test("a flush stops after 2 MiB so that the event loop goes round, and goes on in the next", () => {
    const path = new Path({ bytesPerMs: 250_000, rttMs: 1 });
    const { dialer, answerer } = path;
    answerer.onOutput = () => {};
    for (let count = 0; count < 100; count++) {
      for (let more = 0; more < 60; more++)
        dialer.handle({ type: "send", stream: Lane.data, bytes: new Uint8Array(60_000) });
      path.run(10);
    }
    path.run(1_000);
    for (let more = 0; more < 100; more++)
      dialer.link.handle({ type: "send", stream: Lane.data, bytes: new Uint8Array(60_000) }, path.now);
    const outputs = frames(flush(dialer.link, path.now));
    const bytes = outputs.reduce((sum, frame) => sum + frame.length, 0);
    expect(bytes).toBeGreaterThanOrEqual(2_097_152);
    expect(bytes).toBeLessThan(2_097_152 + 16_384);
    expect(dialer.link.deadline()).toBe(path.now);
  });
});
