import { expect, test } from "vitest";
import { Outbox, outboxLimits } from "../../../src/proto/alerts/outbox.ts";
import { SeededRandom } from "../../../src/proto/random.ts";

const fresh = (): Outbox<string> => new Outbox(new SeededRandom(1));

test("messages go one at a time, in order", () => {
  const outbox = fresh();
  expect(outbox.handle({ type: "message", message: "a" }, 0)).toEqual([{ type: "deliver", message: "a", attempt: 1 }]);
  expect(outbox.handle({ type: "message", message: "b" }, 1)).toEqual([]);
  expect(outbox.handle({ type: "delivered" }, 2)).toEqual([{ type: "deliver", message: "b", attempt: 1 }]);
  expect(outbox.handle({ type: "delivered" }, 3)).toEqual([]);
  expect(outbox.deadline()).toBeUndefined();
});

test("a failed delivery is tried again after growing waits, and given up after the last attempt", () => {
  const outbox = fresh();
  let now = 0;
  let outputs = outbox.handle({ type: "message", message: "a" }, now);
  outbox.handle({ type: "message", message: "b" }, now);
  const waits: number[] = [];
  for (let attempt = 1; attempt < outboxLimits.attempts; attempt++) {
    expect(outputs).toEqual([{ type: "deliver", message: "a", attempt }]);
    outputs = outbox.handle({ type: "failed", final: false }, now);
    const due = outbox.deadline() as number;
    expect(outbox.handle({ type: "timeout" }, due - 1)).toEqual([]);
    waits.push(due - now);
    now = due;
    outputs = outbox.handle({ type: "timeout" }, now);
  }
  const ceilings = [2_000, 8_000, 32_000, 128_000, 300_000, 300_000, 300_000];
  expect(waits.every((wait, index) => wait >= (ceilings[index] ?? 0) / 2 && wait <= (ceilings[index] ?? 0))).toBe(true);
  expect(outbox.handle({ type: "failed", final: false }, now)).toEqual([
    { type: "dropped", message: "a", reason: "unreachable" },
    { type: "deliver", message: "b", attempt: 1 },
  ]);
});

test("a message that was refused for good is given up at once", () => {
  const outbox = fresh();
  outbox.handle({ type: "message", message: "a" }, 0);
  expect(outbox.handle({ type: "failed", final: true }, 1)).toEqual([
    { type: "dropped", message: "a", reason: "refused" },
  ]);
  expect(outbox.deadline()).toBeUndefined();
});

test("what does not fit is dropped, and those that wait stay", () => {
  const outbox = fresh();
  for (let index = 0; index < outboxLimits.queued; index++)
    expect(outbox.handle({ type: "message", message: `${index}` }, 0)).toHaveLength(index === 0 ? 1 : 0);
  expect(outbox.handle({ type: "message", message: "late" }, 0)).toEqual([
    { type: "dropped", message: "late", reason: "full" },
  ]);
  expect(outbox.handle({ type: "delivered" }, 1)).toEqual([{ type: "deliver", message: "1", attempt: 1 }]);
});
