import { describe, expect, test } from "vitest";
import {
  encodeLinkControl,
  encodeStreamControl,
  type LinkControl,
  type StreamControl,
} from "../../../src/proto/streams/control.ts";
import { type LinkOutput, ResetCode } from "../../../src/proto/streams/events.ts";
import { FrameWriter } from "../../../src/proto/streams/frame-writer.ts";
import { Link } from "../../../src/proto/streams/link.ts";

const OPEN: StreamControl = { op: "open", windowBytes: 65_536, priority: "normal", protocol: "a/1" };

function frame(...chunks: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from([0x10, ...chunks.flatMap((chunk) => [...chunk])]);
}

function raw(...bytes: readonly number[]): Uint8Array {
  return Uint8Array.from([0x10, ...bytes]);
}

function control(stream: number, value: StreamControl): Uint8Array {
  return encodeStreamControl(stream, value);
}

function whole(stream: number, length: number): Uint8Array {
  const writer = new FrameWriter();
  writer.begin(16_384);
  writer.whole(stream, new Uint8Array(length));
  return writer.finish().slice(1);
}

/** An answerer to whom a hostile dialer speaks, frame by frame, a minute apart so that no fault adds to another. */
class Victim {
  readonly link = new Link("answerer");
  now = 1_000;

  hear(bytes: Uint8Array): readonly LinkOutput[] {
    this.now += 1;
    return this.link.handle({ type: "frame", bytes }, this.now);
  }

  flush(): readonly LinkOutput[] {
    return this.link.handle({ type: "flush", bufferedBytes: 0 }, this.now);
  }

  faults(bytes: Uint8Array): string[] {
    return this.hear(bytes).flatMap((output) => (output.type === "fault" ? [output.fault] : []));
  }
}

function afterOpen(accepted = true): Victim {
  const victim = new Victim();
  victim.hear(frame(control(8, OPEN)));
  if (accepted) victim.link.handle({ type: "accept", stream: 8 }, victim.now);
  return victim;
}

describe("a peer that breaks the rules of a link", () => {
  test.each([
    ["an empty frame", new Uint8Array(0), "malformed-frame"],
    ["a frame of another kind", Uint8Array.of(0x20, 4, 0), "malformed-frame"],
    ["a chunk longer than its frame", raw(4, 9, 1), "malformed-frame"],
    ["a chunk of no kind", raw(7, 0), "malformed-frame"],
    ["a reserved stream", raw(5 << 2, 1, 1), "wrong-stream"],
    ["a control of a lane", frame(control(1, { op: "fin" })), "wrong-stream"],
    ["an open of a lane", frame(control(2, OPEN)), "wrong-stream"],
    ["an open of a reserved stream", frame(control(6, OPEN)), "wrong-stream"],
    ["an open of our own number", frame(control(9, OPEN)), "wrong-stream"],
    ["an open out of sequence", frame(control(10, OPEN)), "bad-open"],
    ["data on a stream never opened", frame(whole(8, 3)), "wrong-stream"],
    ["data on a stream of ours never opened", frame(whole(9, 3)), "wrong-stream"],
    ["a control of a stream never opened", frame(control(8, { op: "fin" })), "wrong-stream"],
    ["an unknown control of the link", raw(2, 1, 99), "unknown-op"],
    ["an unknown control of a stream", raw(34, 1, 99), "unknown-op"],
    ["a control that says nothing", raw(2, 0), "malformed-control"],
    ["an acknowledgement of what was never sent", frame(link({ op: "ack", frames: 1, delayMs: 0 })), "bad-ack"],
    ["a pong that nobody asked for", frame(link({ op: "pong", id: 0 })), "unexpected-control"],
    ["a lane message longer than is allowed", raw(5, 4, 0x81, 0x80, 16, 1), "oversize-message"],
    ["pieces that do not add up", raw(5, 2, 9, 1, 4, 1, 1), "broken-message"],
  ])("%s is a fault", (_, bytes, fault) => {
    const victim = new Victim();
    expect(victim.faults(bytes)).toEqual([fault]);
    expect(victim.link.deadline()).not.toBe(0);
  });

  test("a number opened twice is a fault, and the first stream stays", () => {
    const victim = afterOpen();
    expect(victim.faults(frame(control(8, OPEN)))).toEqual(["bad-open"]);
    expect(victim.link.streamCount).toBe(1);
  });

  test.each([
    ["an accept of its own open", { op: "accept", windowBytes: 65_536 }, "unexpected-control"],
    ["a refusal of its own open", { op: "refuse", reason: "busy" }, "unexpected-control"],
    ["a credit beyond all reason", { op: "credit", bytes: 300_000_000 }, "bad-credit"],
  ] as const)("%s ends the stream", (_, value, fault) => {
    const victim = afterOpen();
    expect(victim.hear(frame(control(8, value)))).toEqual([
      { type: "reset", stream: 8, code: ResetCode.protocol },
      { type: "fault", fault, stream: 8 },
    ]);
    expect(victim.link.streamCount).toBe(0);
  });

  test("credits add up to no more than reason", () => {
    const victim = afterOpen();
    const credit = frame(control(8, { op: "credit", bytes: 100_000_000 }));
    expect(victim.faults(credit)).toEqual([]);
    expect(victim.faults(credit)).toEqual([]);
    expect(victim.faults(credit)).toEqual(["bad-credit"]);
  });

  test("data after the end of a direction ends the stream", () => {
    const victim = afterOpen();
    expect(victim.faults(frame(control(8, { op: "fin" })))).toEqual([]);
    expect(victim.faults(frame(whole(8, 1)))).toEqual(["data-after-end"]);
  });

  test("an end in the middle of a message ends the stream", () => {
    const victim = afterOpen();
    victim.hear(raw(33, 2, 9, 1));
    expect(victim.faults(frame(control(8, { op: "fin" })))).toEqual(["broken-message"]);
  });

  test("a message over 16 MiB ends the stream at its first piece", () => {
    const victim = afterOpen();
    expect(victim.hear(raw(33, 5, 0x81, 0x80, 0x80, 8, 1))).toEqual([
      { type: "reset", stream: 8, code: ResetCode.oversize },
      { type: "fault", fault: "oversize-message", stream: 8 },
    ]);
  });

  test("a sender that ignores its credit loses the stream, and what it sends on is ignored", () => {
    const victim = afterOpen(false);
    const data = frame(whole(8, 4_000));
    for (let count = 0; count < 4; count++) expect(victim.hear(data).map(({ type }) => type)).toEqual(["message"]);
    expect(victim.hear(data)).toEqual([
      { type: "reset", stream: 8, code: ResetCode.creditExceeded },
      { type: "fault", fault: "credit-exceeded", stream: 8 },
    ]);
    expect(victim.hear(data)).toEqual([]);
    expect(victim.flush().some(({ type }) => type === "frame")).toBe(true);
  });

  test("empty messages cost credit too", () => {
    const victim = afterOpen(false);
    const chunk = [32, 0];
    const empty = raw(...Array.from({ length: 257 }, () => chunk).flat());
    const outputs = victim.hear(empty);
    expect(outputs.filter(({ type }) => type === "message").length).toBe(256);
    expect(outputs.at(-1)).toEqual({ type: "fault", fault: "credit-exceeded", stream: 8 });
  });

  test("more streams than are allowed are refused and a fault", () => {
    const victim = new Victim();
    for (let stream = 8; stream < 8 + 2 * 1_024; stream += 2) {
      victim.now += 1_000;
      expect(victim.faults(frame(control(stream, OPEN)))).toEqual([]);
    }
    victim.now += 1_000;
    expect(victim.faults(frame(control(8 + 2 * 1_024, OPEN)))).toEqual(["too-many-streams"]);
    expect(victim.link.streamCount).toBe(1_024);
  });

  test("more pings at once than deserve an answer are a flood", () => {
    const victim = new Victim();
    const pings = frame(...Array.from({ length: 1_025 }, () => link({ op: "ping", id: 1 })));
    expect(victim.faults(pings)).toEqual(["flood"]);
    const answered = victim
      .flush()
      .reduce((sum, output) => sum + (output.type === "frame" ? output.bytes.length : 0), 0);
    expect(answered).toBeLessThan(1_024 * 4 + 16);
    expect(victim.faults(frame(link({ op: "ping", id: 1 })))).toEqual([]);
  });

  test("eight faults are borne, the ninth ends the link with a goodbye, and nothing follows", () => {
    const victim = new Victim();
    const bad = raw(2, 1, 99);
    for (let count = 0; count < 8; count++) expect(victim.faults(bad)).toEqual(["unknown-op"]);
    expect(victim.hear(bad)).toEqual([
      { type: "fault", fault: "unknown-op", stream: 0 },
      { type: "frame", bytes: raw(2, 2, 19, 5), number: 0 },
      { type: "dead", reason: "protocol" },
    ]);
    expect(victim.hear(bad)).toEqual([]);
    expect(victim.link.deadline()).toBeUndefined();
  });

  test("a frame full of faults makes no more outputs than that", () => {
    const victim = new Victim();
    const outputs = victim.hear(raw(...Array.from({ length: 5_000 }, () => [2, 1, 99]).flat()));
    expect(outputs.length).toBe(11);
  });

  test("an occasional fault is forgiven, one every ten seconds", () => {
    const victim = new Victim();
    for (let count = 0; count < 100; count++) {
      expect(victim.faults(raw(2, 1, 99))).toEqual(["unknown-op"]);
      victim.now += 10_000;
    }
    expect(victim.faults(raw(2, 1, 99))).toEqual(["unknown-op"]);
  });

  test("what comes behind a misunderstood control is still read", () => {
    const victim = new Victim();
    expect(victim.hear(raw(2, 1, 99, 4, 1, 7))).toEqual([
      { type: "fault", fault: "unknown-op", stream: 0 },
      { type: "message", stream: 1, bytes: Uint8Array.of(7) },
    ]);
  });
});

function link(value: LinkControl): Uint8Array {
  return encodeLinkControl(value);
}
