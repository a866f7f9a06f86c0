import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LinkOutput, StreamPriority } from "../../../src/proto/streams/events.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { content, other, Pipe, type Side } from "./pipe.ts";

const side = fc.constantFrom<Side>("dialer", "answerer");
const priority = fc.constantFrom<StreamPriority>("interactive", "normal", "bulk");
const length = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 40_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(16_372, 16_375, 16_383, 16_384, 65_536, 262_144) },
);

type Step =
  | { readonly do: "open"; readonly side: Side; readonly priority: StreamPriority }
  | { readonly do: "send"; readonly side: Side; readonly pick: number; readonly length: number }
  | { readonly do: "end" | "reset" | "consume"; readonly side: Side; readonly pick: number }
  | { readonly do: "flush"; readonly side: Side }
  | { readonly do: "deliver"; readonly side: Side; readonly count: number }
  | { readonly do: "wait"; readonly ms: number };

const pick = fc.nat({ max: 1_000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("open"), side, priority }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("send"), side, pick, length }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("end", "reset"), side, pick }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("consume"), side, pick }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("flush"), side }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("deliver"), side, count: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait"), ms: fc.double({ min: 0, max: 50, noNaN: true }) }) },
);

/** The reference: per direction and stream, the messages sent, in order, and how many of them have come. */
class Model {
  readonly pipe: Pipe;
  readonly sent = new Map<string, { readonly length: number; readonly seed: number }[]>();
  readonly came = new Map<string, number>();
  readonly live: Record<Side, Set<number>> = { dialer: new Set(), answerer: new Set() };
  readonly resets = new Set<number>();
  readonly unconsumed: Record<Side, Map<number, { messages: number; bytes: number }>> = {
    dialer: new Map(),
    answerer: new Map(),
  };
  seed = 1;

  constructor() {
    this.pipe = new Pipe((at, output) => this.#output(at, output));
  }

  #output(at: Side, output: LinkOutput): void {
    if (output.type === "fault" || output.type === "dead") throw new Error(`${at}: ${JSON.stringify(output)}`);
    if (output.type === "opening") this.live[at].add(output.stream);
    if (output.type === "opened") {
      this.live[at].add(output.stream);
      this.accepting.push([at, output.stream]);
    }
    if (output.type === "reset" || output.type === "closed") this.live[at].delete(output.stream);
    if (output.type === "message") this.#message(at, output.stream, output.bytes);
  }

  readonly accepting: [Side, number][] = [];

  #message(at: Side, stream: number, bytes: Uint8Array): void {
    const key = `${other(at)} ${stream}`;
    const index = this.came.get(key) ?? 0;
    const expected = this.sent.get(key)?.[index];
    if (expected === undefined) throw new Error(`${key}: message ${index} was never sent`);
    expect(Buffer.compare(bytes, content(expected.length, expected.seed))).toBe(0);
    this.came.set(key, index + 1);
    if (stream < 8) return;
    const held = this.unconsumed[at].get(stream) ?? { messages: 0, bytes: 0 };
    this.unconsumed[at].set(stream, { messages: held.messages + 1, bytes: held.bytes + bytes.length });
  }

  apply(action: Step): void {
    const { pipe } = this;
    const stream = "pick" in action ? this.#stream(action.side, action.pick) : 0;
    switch (action.do) {
      case "open":
        pipe.handle(action.side, { type: "open", protocol: "p/1", priority: action.priority });
        break;
      case "send":
        this.send(action.side, stream, action.length);
        break;
      case "end":
        pipe.handle(action.side, { type: "end", stream });
        break;
      case "reset":
        if (stream < 8) break;
        this.resets.add(stream);
        this.live[action.side].delete(stream);
        pipe.handle(action.side, { type: "reset", stream, code: 16 });
        break;
      case "consume":
        this.consume(action.side, stream);
        break;
      case "flush":
        pipe.flush(action.side);
        break;
      case "deliver":
        pipe.deliver(action.side, action.count);
        this.accept();
        break;
      case "wait":
        pipe.now += action.ms;
    }
  }

  /** A lane or a live stream of `at`. */
  #stream(at: Side, choice: number): number {
    const all = [Lane.probe, Lane.gossip, Lane.signal, Lane.data, ...this.live[at]];
    return all[choice % all.length] ?? 0;
  }

  send(at: Side, stream: number, size: number): void {
    if (!this.pipe.links[at].writable(stream)) return;
    const message = { length: size, seed: this.seed++ };
    const key = `${at} ${stream}`;
    this.sent.set(key, [...(this.sent.get(key) ?? []), message]);
    this.pipe.handle(at, { type: "send", stream, bytes: content(message.length, message.seed) });
  }

  consume(at: Side, stream: number): void {
    const held = this.unconsumed[at].get(stream);
    if (held === undefined) return;
    this.unconsumed[at].delete(stream);
    this.pipe.handle(at, { type: "consumed", stream, ...held });
  }

  accept(): void {
    for (const [at, stream] of this.accepting.splice(0)) this.pipe.handle(at, { type: "accept", stream });
  }

  /** Lets everything run out, with applications that consume. */
  finish(): void {
    this.pipe.settle(() => {
      this.accept();
      for (const at of ["dialer", "answerer"] as const)
        for (const stream of [...this.unconsumed[at].keys()]) this.consume(at, stream);
    });
  }
}

describe("two links over a pipe", () => {
  test("deliver every message once, whole and in order, however things interleave", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 120 }), (steps) => {
        const model = new Model();
        for (const action of steps) model.apply(action);
        model.finish();
        for (const [key, messages] of model.sent) {
          const stream = Number(key.split(" ")[1]);
          if (!model.resets.has(stream)) expect([key, model.came.get(key) ?? 0]).toEqual([key, messages.length]);
        }
        const { dialer, answerer } = model.pipe.links;
        expect(dialer.framesAcknowledged).toBe(answerer.framesReceived);
        expect(dialer.framesSent).toBe(answerer.framesReceived);
        expect(answerer.framesSent).toBe(dialer.framesReceived);
        expect(dialer.streamCount).toBe(answerer.streamCount);
      }),
      { numRuns: 150 },
    );
  });

  test("a receiver never holds more than its window, whatever is sent, and always gets the rest", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 120_000 }), { minLength: 1, maxLength: 60 }), (lengths) => {
        const model = new Model();
        model.pipe.handle("dialer", { type: "open", protocol: "p/1" });
        model.send("dialer", 8, 10);
        model.pipe.settle(() => model.accept());
        for (const size of lengths) model.send("dialer", 8, size);
        model.pipe.settle(() => {});
        const held = model.unconsumed.answerer.get(8) ?? { messages: 0, bytes: 0 };
        expect(held.bytes + held.messages * 64).toBeLessThanOrEqual(1_048_576);
        model.finish();
        expect(model.came.get("dialer 8")).toBe(model.sent.get("dialer 8")?.length);
      }),
      { numRuns: 40 },
    );
  });

  test("what is more urgent leaves first, in every frame", () => {
    const rank = new Map<number, number>([
      [Lane.probe, 0],
      [Lane.signal, 1],
      [Lane.gossip, 2],
      [Lane.data, 3],
      [8, 4],
      [10, 5],
      [12, 6],
    ]);
    const sends = fc.array(fc.tuple(fc.constantFrom(...rank.keys()), fc.integer({ min: 0, max: 3_000 })), {
      minLength: 1,
      maxLength: 100,
    });
    fc.assert(
      fc.property(sends, (messages) => {
        const order: number[] = [];
        const pipe = new Pipe((_, output) => {
          if (output.type === "message") order.push(rank.get(output.stream) ?? 99);
        });
        for (const priority of ["interactive", "normal", "bulk"] as const)
          pipe.handle("dialer", { type: "open", protocol: "p/1", priority });
        pipe.settle(() => {});
        // All at once, within the early credit of 16 KiB for each stream.
        const budget = new Map<number, number>();
        for (const [stream, size] of messages) {
          const spent = (budget.get(stream) ?? 0) + size + 64;
          if (stream >= 8 && spent > 16_384) continue;
          budget.set(stream, spent);
          pipe.handle("dialer", { type: "send", stream, bytes: new Uint8Array(size) });
        }
        pipe.settle(() => {});
        expect(order).toEqual([...order].sort((a, b) => a - b));
      }),
      { numRuns: 100 },
    );
  });

  test("streams of one class get equal shares while all have something to send", () => {
    const sizes = fc.array(fc.integer({ min: 1_000, max: 60_000 }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(sizes, (lengths) => {
        const came = new Map<number, number>();
        const pipe = new Pipe((at, output) => {
          if (output.type === "opened") accepting.push(output.stream);
          if (output.type !== "message" || at !== "answerer") return;
          came.set(output.stream, (came.get(output.stream) ?? 0) + output.bytes.length);
        });
        const accepting: number[] = [];
        const accept = () => {
          for (const stream of accepting.splice(0)) pipe.handle("answerer", { type: "accept", stream });
        };
        for (const _ of lengths) pipe.handle("dialer", { type: "open", protocol: "p/1", priority: "bulk" });
        pipe.settle(accept);
        for (const [index, size] of lengths.entries())
          for (let queued = 0; queued < 600_000; queued += size)
            pipe.handle("dialer", { type: "send", stream: 8 + 2 * index, bytes: new Uint8Array(size) });
        // Until about half of it has come: all still have something to send.
        const enough = 300_000 * lengths.length;
        for (let round = 0; round < 5_000 && sum(came) < enough; round++) {
          pipe.flush("dialer");
          pipe.deliver("dialer", 1);
          pipe.flush("answerer");
          pipe.deliver("answerer", 8);
          pipe.now += 0.3;
        }
        const shares = lengths.map((_, index) => came.get(8 + 2 * index) ?? 0);
        // Two turns of a frame and the piece that ends a turn late, a message that is half received, and 8 bytes of head
        // that
        // count for each message.
        const slack = 3 * 16_384 + Math.max(...lengths) + (8 * 600_000) / Math.min(...lengths);
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(slack);
      }),
      { numRuns: 40 },
    );
  });
});

function sum(amounts: ReadonlyMap<number, number>): number {
  let total = 0;
  for (const amount of amounts.values()) total += amount;
  return total;
}
