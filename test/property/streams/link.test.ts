import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Model, step } from "./model.ts";
import { Pipe } from "./pipe.ts";

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
