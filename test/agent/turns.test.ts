import { expect, test } from "vitest";
import { Turns } from "../../src/agent/turns.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what becomes due together is done in its order, one in a turn, and the first at once", async () => {
  const done: number[] = [];
  const turns = new Turns<number>((item) => done.push(item));
  for (const item of [1, 2, 3]) turns.add(item);
  expect(done).toEqual([1]);
  await turn();
  expect(done).toEqual([1, 2]);
  turns.add(4);
  expect(done).toEqual([1, 2]);
  for (let left = 3; left > 0; left--) await turn();
  expect(done).toEqual([1, 2, 3, 4]);
  turns.add(5);
  expect(done).toEqual([1, 2, 3, 4, 5]);
});
