import { expect, test } from "vitest";
import { limitedHandlers } from "../../src/cli/limited-handlers.ts";
import type { ControlHandler } from "../../src/drivers/control.ts";

/** Goal: whoever floods the control socket is refused cheaply, and the agent can be stopped all the same. */

const RATE = { perSecond: 10, burst: 3 };

function begin() {
  let now = 1_000;
  const done: string[] = [];
  const answering =
    (name: string): ControlHandler =>
    async () => {
      done.push(name);
      return name;
    };
  const names = ["status", "kv.put", "down"];
  const handlers = limitedHandlers(RATE, new Map(names.map((name) => [name, answering(name)])), () => now);
  const call = async (name: string): Promise<unknown> =>
    handlers
      .get(name)?.({}, () => undefined, new AbortController().signal)
      .catch((error: { code: string }) => error.code);
  const pass = (ms: number): void => {
    now += ms;
  };
  return { call, done, pass };
}

test("a burst is carried out, the rest is refused whatever command it is, and as much is taken again as time has passed", async () => {
  const { call, done, pass } = begin();
  const outcomes: unknown[] = [];
  for (let index = 0; index < 50; index++) outcomes.push(await call(index % 2 === 0 ? "status" : "kv.put"));
  expect(outcomes.slice(0, 4)).toEqual(["status", "kv.put", "status", "limit-reached"]);
  expect(outcomes.slice(3)).toEqual(Array(47).fill("limit-reached"));
  expect(done).toHaveLength(3);
  pass(100);
  expect([await call("status"), await call("status")]).toEqual(["status", "limit-reached"]);
  pass(60_000);
  for (let index = 0; index < 4; index++) outcomes.push(await call("status"));
  expect(outcomes.slice(-4)).toEqual(["status", "status", "status", "limit-reached"]);
});

test("the agent is stopped also by whoever has no call left", async () => {
  const { call, done } = begin();
  for (let index = 0; index < 10; index++) await call("status");
  expect(await call("down")).toBe("down");
  expect(done.at(-1)).toBe("down");
});
