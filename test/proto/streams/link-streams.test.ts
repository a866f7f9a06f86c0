import { describe, expect, test } from "vitest";
import { AssertionFailure } from "../../../src/proto/assert.ts";
import { type LinkOutput, ResetCode } from "../../../src/proto/streams/events.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Path, type PathOptions } from "./path.ts";

/** A message of which two use up what a link promises beyond its windows. */
const LARGE = 16 * 1_048_576;

/** Two links over 10 ms and 100 Mbit/s; `seen` lists outputs as "end type stream", messages with their length. */
class World {
  readonly path: Path;
  readonly seen: string[] = [];
  /** Whether the answerer accepts and both consume at once. */
  willing = true;
  consuming = true;

  constructor(options: PathOptions = { bytesPerMs: 12_500, rttMs: 10 }) {
    this.path = new Path(options);
    this.path.dialer.onOutput = (output) => this.#take("dialer", output);
    this.path.answerer.onOutput = (output) => this.#take("answerer", output);
  }

  #take(end: "dialer" | "answerer", output: LinkOutput): void {
    const stream = "stream" in output ? ` ${output.stream}` : "";
    const more = output.type === "message" ? ` ${output.bytes.length}` : "code" in output ? ` ${output.code}` : "";
    this.seen.push(`${end} ${output.type}${stream}${more}${"reason" in output ? ` ${output.reason}` : ""}`);
    const at = this.path[end];
    if (output.type === "opened" && this.willing) at.handle({ type: "accept", stream: output.stream });
    if (output.type === "message" && this.consuming && output.stream >= 8)
      at.handle({ type: "consumed", stream: output.stream, messages: 1, bytes: output.bytes.length });
  }

  /** What was seen since the last call. */
  take(): string[] {
    return this.seen.splice(0);
  }
}

describe("streams of a link", () => {
  test("a request and its answer take one round trip and two frames besides acknowledgements", () => {
    const { path, take } = bound(new World());
    path.dialer.handle({ type: "open", protocol: "time/1" });
    path.dialer.handle({ type: "send", stream: 8, bytes: new Uint8Array(20) });
    path.dialer.handle({ type: "end", stream: 8 });
    path.run(7);
    expect(take()).toEqual(["dialer opening 8", "answerer opened 8", "answerer message 8 20", "answerer ended 8"]);
    path.answerer.handle({ type: "send", stream: 8, bytes: new Uint8Array(30) });
    path.answerer.handle({ type: "end", stream: 8 });
    path.run(6);
    expect(take()).toEqual([
      "answerer closed 8",
      "dialer accepted 8",
      "dialer message 8 30",
      "dialer ended 8",
      "dialer closed 8",
    ]);
    expect([path.dialer.link.streamCount, path.answerer.link.streamCount]).toEqual([0, 0]);
  });

  test("the dialer opens even numbers from 8, the answerer odd ones from 9", () => {
    const { path, take } = bound(new World());
    path.dialer.handle({ type: "open", protocol: "a/1" });
    path.dialer.handle({ type: "open", protocol: "a/1" });
    path.answerer.handle({ type: "open", protocol: "a/1" });
    path.answerer.handle({ type: "open", protocol: "a/1" });
    expect(take()).toEqual(["dialer opening 8", "dialer opening 10", "answerer opening 9", "answerer opening 11"]);
  });

  test("name and priority reach the peer", () => {
    const path = new Path({ bytesPerMs: 12_500, rttMs: 10 });
    const seen: LinkOutput[] = [];
    path.answerer.onOutput = (output) => seen.push(output);
    path.dialer.handle({ type: "open", protocol: "ü/1", priority: "interactive" });
    path.dialer.handle({ type: "open", protocol: "b/1" });
    path.run(50);
    expect(seen).toEqual([
      { type: "opened", stream: 8, protocol: "ü/1", priority: "interactive" },
      { type: "opened", stream: 10, protocol: "b/1", priority: "normal" },
    ]);
  });

  test("streams open in sequence even when a more urgent one is opened later", () => {
    const { path, take } = bound(new World());
    path.dialer.handle({ type: "send", stream: Lane.data, bytes: new Uint8Array(200_000) });
    path.dialer.handle({ type: "open", protocol: "slow/1", priority: "bulk" });
    path.dialer.handle({ type: "open", protocol: "fast/1", priority: "interactive" });
    path.run(200);
    expect(take().filter((line) => line.startsWith("answerer opened"))).toEqual([
      "answerer opened 8",
      "answerer opened 10",
    ]);
  });

  test("a refused stream is gone on both sides, and what was sent on it is nobody's", () => {
    const world = new World();
    const { path } = world;
    world.willing = false;
    path.dialer.handle({ type: "open", protocol: "no/1" });
    path.run(10);
    path.answerer.handle({ type: "refuse", stream: 8, reason: "unknown-protocol" });
    path.dialer.handle({ type: "send", stream: 8, bytes: new Uint8Array(20) });
    path.run(50);
    expect(world.take()).toEqual(["dialer opening 8", "answerer opened 8", "dialer refused 8 unknown-protocol"]);
    expect([path.dialer.link.streamCount, path.answerer.link.streamCount]).toEqual([0, 0]);
    expect(path.dialer.link.writable(8)).toBe(false);
  });

  test("before it is accepted an opener sends 16 KiB and no more", () => {
    const world = new World();
    const { path } = world;
    world.willing = false;
    path.dialer.handle({ type: "open", protocol: "wait/1" });
    for (let count = 0; count < 10; count++)
      path.dialer.handle({ type: "send", stream: 8, bytes: new Uint8Array(4_000) });
    path.run(500);
    expect(world.take().filter((line) => line === "answerer message 8 4000").length).toBe(4);
    path.answerer.handle({ type: "accept", stream: 8 });
    path.run(500);
    expect(world.take().filter((line) => line === "answerer message 8 4000").length).toBe(6);
  });

  test("a receiver that does not consume stops the sender at its window, and consuming starts it again", () => {
    const world = new World();
    const { path } = world;
    world.consuming = false;
    path.dialer.handle({ type: "open", protocol: "bulk/1", priority: "bulk" });
    const received = () => world.take().filter((line) => line === "answerer message 8 60000").length;
    path.dialer.fill(8, new Uint8Array(60_000));
    path.run(5_000);
    // 17 x 60,064 bytes fit into 1 MiB.
    expect(received()).toBe(17);
    path.answerer.handle({ type: "consumed", stream: 8, messages: 17, bytes: 17 * 60_000 });
    path.run(5_000);
    expect(received()).toBe(17);
  });

  test("a stalled stream does not hold up another of its class", () => {
    const world = new World();
    const { path } = world;
    world.consuming = false;
    path.dialer.handle({ type: "open", protocol: "stalled/1" });
    path.dialer.fill(8, new Uint8Array(60_000));
    path.run(2_000);
    world.take();
    path.dialer.handle({ type: "open", protocol: "free/1" });
    path.dialer.handle({ type: "send", stream: 10, bytes: new Uint8Array(5_000) });
    path.run(100);
    expect(world.take()).toContain("answerer message 10 5000");
  });

  test("messages longer than their window arrive, several at once, out of one budget", () => {
    const world = new World({ bytesPerMs: 125_000, rttMs: 10 });
    const { path } = world;
    for (let stream = 8; stream < 18; stream += 2) {
      path.dialer.handle({ type: "open", protocol: "large/1", priority: "bulk" });
      path.dialer.handle({ type: "send", stream, bytes: new Uint8Array(16_777_216) });
    }
    path.run(4_000);
    expect(world.take().filter((line) => line.startsWith("answerer message"))).toHaveLength(5);
  });

  test.each([
    ["is consumed", (path: Path) => path.answerer.handle({ type: "consumed", stream: 8, messages: 1, bytes: LARGE })],
    ["is reset by the receiver", (path: Path) => path.answerer.handle({ type: "reset", stream: 8, code: 16 })],
    ["is reset by the sender", (path: Path) => path.dialer.handle({ type: "reset", stream: 8, code: 16 })],
  ])("a long message that found the budget used up is given room when another %s", (_, release) => {
    const world = new World({ bytesPerMs: 125_000, rttMs: 10 });
    const { path } = world;
    world.consuming = false;
    for (let stream = 8; stream < 14; stream += 2) {
      path.dialer.handle({ type: "open", protocol: "large/1", priority: "bulk" });
      path.dialer.handle({ type: "send", stream, bytes: new Uint8Array(LARGE) });
    }
    path.run(3_000);
    expect(
      world
        .take()
        .filter((line) => line.startsWith("answerer message"))
        .sort(),
    ).toEqual([`answerer message 10 ${LARGE}`, `answerer message 8 ${LARGE}`]);
    release(path);
    path.run(3_000);
    expect(world.take()).toContain(`answerer message 12 ${LARGE}`);
  });

  test("a message of more than 16 MiB is the driver's mistake", () => {
    const { path } = bound(new World());
    path.dialer.handle({ type: "open", protocol: "large/1" });
    const bytes = new Uint8Array(16_777_217);
    expect(() => path.dialer.link.handle({ type: "send", stream: 8, bytes }, path.now)).toThrow(AssertionFailure);
  });

  test("consuming what was not delivered is the driver's mistake", () => {
    const { path } = bound(new World());
    path.dialer.handle({ type: "open", protocol: "a/1" });
    path.run(50);
    expect(() => path.answerer.link.handle({ type: "consumed", stream: 8, messages: 1, bytes: 0 }, path.now)).toThrow(
      AssertionFailure,
    );
  });

  test("one direction may end while the other goes on", () => {
    const { path, take } = bound(new World());
    path.dialer.handle({ type: "open", protocol: "half/1" });
    path.dialer.handle({ type: "end", stream: 8 });
    path.run(50);
    expect(path.dialer.link.writable(8)).toBe(false);
    take();
    for (let count = 0; count < 3; count++) {
      path.answerer.handle({ type: "send", stream: 8, bytes: new Uint8Array(10) });
      path.run(50);
    }
    expect(take()).toEqual(["dialer message 8 10", "dialer message 8 10", "dialer message 8 10"]);
    path.answerer.handle({ type: "end", stream: 8 });
    path.run(50);
    expect(take()).toEqual(["answerer closed 8", "dialer ended 8", "dialer closed 8"]);
  });

  test("a reset ends both directions at once and drops what is queued", () => {
    const { path, take } = bound(new World());
    path.dialer.handle({ type: "open", protocol: "reset/1", priority: "bulk" });
    path.dialer.fill(8, new Uint8Array(60_000));
    path.run(60);
    expect(take().length).toBeGreaterThan(3);
    path.dialer.handle({ type: "reset", stream: 8, code: 99 });
    path.run(100);
    expect(take().at(-1)).toBe("answerer reset 8 99");
    expect(path.dialer.link.queuedBytes(8)).toBe(0);
    path.run(1_000);
    expect(take()).toEqual([]);
  });

  test("resets that cross are no fault", () => {
    const { path, take } = bound(new World());
    path.dialer.handle({ type: "open", protocol: "cross/1" });
    path.run(50);
    take();
    path.dialer.handle({ type: "reset", stream: 8, code: ResetCode.cancelled });
    path.answerer.handle({ type: "reset", stream: 8, code: ResetCode.cancelled });
    path.run(50);
    expect(take()).toEqual([]);
  });

  test("1,024 streams of a side are open at once, and when one is over there is room for another", () => {
    const { path, take } = bound(new World());
    for (let count = 0; count < 1_025; count++) path.dialer.handle({ type: "open", protocol: "many/1" });
    path.run(1_000);
    const lines = take();
    expect(lines.filter((line) => line.startsWith("dialer accepted")).length).toBe(1_024);
    expect(lines.filter((line) => line === "dialer unopened too-many-streams").length).toBe(1);
    path.dialer.handle({ type: "reset", stream: 8, code: 0 });
    path.run(1_000);
    path.dialer.handle({ type: "open", protocol: "many/1" });
    path.run(1_000);
    expect(take()).toContain("dialer accepted 2056");
  });

  test("a peer that opens faster than is allowed is told that we are busy, and no more", () => {
    const { path, take } = bound(new World());
    const churn = (count: number) => {
      for (let opened = 0; opened < count; opened++) {
        path.dialer.handle({ type: "open", protocol: "churn/1" });
        path.dialer.handle({ type: "reset", stream: 8 + 2 * next++, code: 0 });
      }
    };
    let next = 0;
    churn(1_024);
    path.dialer.handle({ type: "open", protocol: "churn/1" });
    next++;
    path.run(100);
    expect(take().at(-1)).toBe("dialer refused 2056 busy");
    path.run(1_000);
    churn(200);
    path.dialer.handle({ type: "open", protocol: "churn/1" });
    path.run(100);
    expect(take().at(-1)).toBe("dialer accepted 2458");
  });

  test("a silent link with streams exchanges one heartbeat a second", () => {
    const { path } = bound(new World());
    path.dialer.handle({ type: "open", protocol: "quiet/1" });
    path.run(500);
    const before = [path.dialer.frames, path.answerer.frames];
    path.run(60_000);
    const frames = [path.dialer.frames - (before[0] ?? 0), path.answerer.frames - (before[1] ?? 0)];
    expect(frames[0]).toBeGreaterThanOrEqual(55);
    expect(frames[0]).toBeLessThanOrEqual(61);
    expect(frames[1]).toBeGreaterThanOrEqual(55);
    expect(frames[1]).toBeLessThanOrEqual(61);
  });

  test.each([
    ["in the middle of a transfer", true],
    ["while nothing is sent", false],
  ])("a peer that dies %s is noticed within 4 s", (_, busy) => {
    const world = new World();
    const { path } = world;
    path.dialer.handle({ type: "open", protocol: "fate/1" });
    if (busy) path.dialer.fill(8, new Uint8Array(60_000));
    path.run(10_000);
    if (busy) path.dialer.fill(8, new Uint8Array(60_000));
    path.run(20);
    world.take();
    path.answerer.direction.cut = true;
    path.run(4_020);
    expect(world.take().filter((line) => line.startsWith("dialer detached"))).toEqual(["dialer detached silent"]);
  });
});

function bound(world: World): { path: Path; take: () => string[] } {
  return { path: world.path, take: () => world.take() };
}
