import { describe, expect, test } from "vitest";
import { linkOptionsFor } from "../../../src/agent/stacks.ts";
import { concat } from "../../../src/proto/bytes.ts";
import { encodeLinkControl, encodeStreamControl } from "../../../src/proto/streams/control.ts";
import type { LinkInput, LinkOutput } from "../../../src/proto/streams/events.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Link } from "../../../src/proto/streams/link.ts";

const frame = (...chunks: readonly Uint8Array[]): Uint8Array => concat(Uint8Array.of(0x10), ...chunks);
const begin = (frames: number): Uint8Array => frame(encodeLinkControl({ op: "begin", frames }));
const FLUSH: LinkInput = { type: "flush", bufferedBytes: 0 };
const OPEN: LinkInput = { type: "open", protocol: "p/1" };

/** A dialer with one stream of its own, which has sent `messages` of 1 byte, each in a frame of its own. */
function sender(messages: number): { link: Link; frames: Uint8Array[] } {
  const link = new Link("dialer");
  const frames = framesOf([...link.handle(OPEN, 0), ...link.handle(FLUSH, 0)]);
  for (let number = 1; number <= messages; number++) {
    link.handle({ type: "send", stream: 8, bytes: Uint8Array.of(number) }, 0);
    frames.push(...framesOf(link.handle(FLUSH, 0)));
  }
  return { link, frames };
}

function framesOf(outputs: readonly LinkOutput[]): Uint8Array[] {
  return outputs.flatMap((output) => (output.type === "frame" ? [output.bytes] : []));
}

const attach = (received: number, lanes: "kept" | "cut" = "kept"): LinkInput => ({
  type: "attach",
  role: "dialer",
  received,
  lanes,
});

describe("a link that goes on over another channel", () => {
  test("says where it begins, then repeats what the peer lacks and nothing else", () => {
    const { link, frames } = sender(3);
    expect(link.handle({ type: "detach" }, 1)).toEqual([{ type: "detached", reason: "closed" }]);
    expect(link.handle(attach(2), 2)).toEqual([{ type: "attached" }, { type: "writable", stream: 8 }]);
    const outputs = link.handle(FLUSH, 2);
    expect(outputs).toEqual([
      { type: "frame", bytes: begin(2), number: 0 },
      { type: "frame", bytes: frames[2], number: 3 },
      { type: "frame", bytes: frames[3], number: 4 },
    ]);
  });

  test("does not repeat what was acknowledged after the peer had said what it has", () => {
    const { link, frames } = sender(3);
    link.handle({ type: "frame", bytes: frame(encodeLinkControl({ op: "ack", frames: 3, delayMs: 0 })) }, 1);
    link.handle(attach(1), 2);
    expect(framesOf(link.handle(FLUSH, 2))).toEqual([begin(3), frames[3]]);
  });

  test("drops what lanes had sent after a gap, keeping the count, and keeps it without one", () => {
    for (const lanes of ["kept", "cut"] as const) {
      const link = new Link("dialer");
      link.handle({ type: "send", stream: Lane.data, bytes: Uint8Array.of(7) }, 0);
      const sent = framesOf(link.handle(FLUSH, 0));
      link.handle(attach(0, lanes), 1);
      expect(framesOf(link.handle(FLUSH, 1))).toEqual([
        begin(0),
        lanes === "cut" ? Uint8Array.of(0x10, 16, 0) : sent[0],
      ]);
    }
  });

  test("takes what it has already for what it is, and the rest once", () => {
    const { frames } = sender(3);
    const link = new Link("answerer");
    const messages = (inputs: readonly Uint8Array[]): number[] =>
      inputs
        .flatMap((bytes) => [...link.handle({ type: "frame", bytes }, 1)])
        .flatMap((output) => (output.type === "message" ? [output.bytes[0] as number] : []));
    expect(messages(frames.slice(0, 3))).toEqual([1, 2]);
    link.handle({ ...attach(0), role: "answerer" } as LinkInput, 2);
    expect(messages([begin(1), ...frames.slice(1)])).toEqual([3]);
    expect(link.framesReceived).toBe(4);
  });

  test("asks anew what it had asked on the channel before", () => {
    const { link } = sender(0);
    link.handle(attach(1), 1);
    link.handle({ type: "ping", id: 77 }, 2);
    link.handle({ type: "detach" }, 3);
    link.handle({ type: "ping", id: 78 }, 4);
    link.handle(attach(1), 5);
    link.handle(FLUSH, 5);
    const pongs = [0, 1].flatMap((id) => [
      ...link.handle({ type: "frame", bytes: frame(encodeLinkControl({ op: "pong", id })) }, 9),
    ]);
    expect(pongs).toEqual([
      { type: "pong", id: 77, rttMs: 4 },
      { type: "pong", id: 78, rttMs: 4 },
    ]);
  });

  test("is over after two minutes without one", () => {
    const { link } = sender(1);
    link.handle({ type: "detach" }, 10);
    expect(link.deadline()).toBe(120_010);
    expect(link.handle({ type: "timeout" }, 120_009)).toEqual([]);
    expect(link.handle({ type: "timeout" }, 120_010)).toEqual([{ type: "dead", reason: "forsaken" }]);
    expect(link.handle(attach(1), 120_011)).toEqual([]);
  });

  test("takes no message on a lane while it has no channel, and hears nothing", () => {
    const { link } = sender(0);
    link.handle({ type: "detach" }, 1);
    expect(link.writable(Lane.data)).toBe(false);
    expect(link.handle({ type: "send", stream: Lane.data, bytes: new Uint8Array(3) }, 2)).toEqual([
      { type: "dropped", stream: Lane.data, bytes: 3 },
    ]);
    expect(link.handle({ type: "frame", bytes: frame(encodeStreamControl(8, { op: "fin" })) }, 3)).toEqual([]);
    expect(link.framesReceived).toBe(0);
  });
});

describe("a peer that lies about a session", () => {
  test("ends it by claiming frames that were never sent", () => {
    const { link } = sender(3);
    expect(link.handle(attach(5), 1)).toEqual([{ type: "dead", reason: "protocol" }]);
  });

  test.each([
    ["beginning beyond what we have", begin(1)],
    ["sending before it has said where it begins", frame(encodeStreamControl(9, { op: "fin" }))],
  ])("ends it by %s", (_, bytes) => {
    const { link } = sender(1);
    link.handle(attach(2), 1);
    expect(link.handle({ type: "frame", bytes }, 2)).toEqual([{ type: "dead", reason: "protocol" }]);
  });

  test("ends it by beginning twice, or in the middle of a channel", () => {
    const { link } = sender(1);
    expect(link.handle({ type: "frame", bytes: begin(0) }, 1)).toEqual([{ type: "dead", reason: "protocol" }]);
  });

  test.each(["native", "werift", "custom"])(
    "makes us keep no more than 4 MiB over %s, whatever it leaves unacknowledged",
    (stack) => {
      const link = new Link("answerer", linkOptionsFor(stack));
      const bytes = new Uint8Array(65_536);
      link.handle({ type: "open", protocol: "p/1" }, 0);
      let now = 0;
      const control = (...chunks: readonly Uint8Array[]) =>
        link.handle({ type: "frame", bytes: frame(...chunks) }, now);
      control(encodeStreamControl(9, { op: "accept", windowBytes: 200 * 1_048_576 }));
      const sent: { readonly at: number; readonly frames: number }[] = [];
      let most = 0;
      // For a while it acknowledges like a long fat path, and causes an answer all the time; then it falls silent.
      for (let stream = 8; now < 8_000; now += 5, stream += 2) {
        while (now < 4_000 && (sent[0]?.at ?? now) <= now - 100)
          control(encodeLinkControl({ op: "ack", frames: sent.shift()?.frames ?? 0, delayMs: 0 }));
        control(encodeStreamControl(stream, { op: "open", windowBytes: 65_536, priority: "bulk", protocol: "q/1" }));
        link.handle({ type: "refuse", stream, reason: "forbidden" }, now);
        for (let moved = true; moved; sent.push({ at: now, frames: link.framesSent })) {
          while (link.writable(9)) link.handle({ type: "send", stream: 9, bytes }, now);
          moved = framesOf(link.handle(FLUSH, now)).length > 0;
        }
        most = Math.max(most, link.outstandingBytes);
      }
      expect(most).toBeGreaterThan(700_000);
      expect(most).toBeLessThanOrEqual(4 * 1_048_576);
      link.handle({ type: "detach" }, now);
      expect(link.writable(9)).toBe(false);
      expect(link.queuedBytes(9)).toBeLessThanOrEqual(4 * 1_048_576 + bytes.length + 64);
    },
  );
});
