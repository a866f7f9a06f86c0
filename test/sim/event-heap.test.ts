import fc from "fast-check";
import { expect, test } from "vitest";
import { EventHeap } from "./event-heap.ts";

test("sources come out by time, those of one instant in the order in which they were set", () => {
  const heap = new EventHeap();
  heap.set(3, 20);
  heap.set(1, 10);
  heap.set(2, 10);
  heap.set(1, 10);
  expect([heap.pop(), heap.pop(), heap.pop(), heap.pop()]).toEqual([2, 1, 3, -1]);
  expect(heap.next()).toBe(Number.POSITIVE_INFINITY);
});

test("it behaves as a sorted list, whatever is set, moved, cleared and popped", () => {
  const deed = fc.oneof(
    fc.record({ do: fc.constant("set" as const), source: fc.nat(200), at: fc.nat(20) }),
    fc.record({ do: fc.constant("clear" as const), source: fc.nat(200) }),
    fc.record({ do: fc.constant("pop" as const) }),
  );
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 300, size: "max" }), (deeds) => {
      const heap = new EventHeap();
      let model: { source: number; at: number; order: number }[] = [];
      deeds.forEach((step, order) => {
        if (step.do === "set") {
          heap.set(step.source, step.at);
          model = model.filter(({ source }) => source !== step.source);
          model.push({ source: step.source, at: step.at, order });
          model.sort((a, b) => a.at - b.at || a.order - b.order);
        } else if (step.do === "clear") {
          heap.clear(step.source);
          model = model.filter(({ source }) => source !== step.source);
        } else expect(heap.pop()).toBe(model.shift()?.source ?? -1);
        expect(heap.size).toBe(model.length);
        expect(heap.next()).toBe(model[0]?.at ?? Number.POSITIVE_INFINITY);
        for (const { source, at } of model) expect(heap.at(source)).toBe(at);
      });
    }),
    { numRuns: 100 },
  );
});
