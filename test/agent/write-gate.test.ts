import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { WriteGate } from "../../src/agent/write-gate.ts";

const MIB = 1_048_576;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A gate, and what has happened to those who came to it. */
function gateWithLog() {
  const gate = new WriteGate();
  const entered: number[] = [];
  const away: number[] = [];
  const come = (request: number, bytes: number, patienceMs = 60_000): void =>
    gate.come(request, {
      bytes,
      patienceMs,
      enter: () => entered.push(request),
      turnAway: () => away.push(request),
    });
  return { gate, come, entered, away };
}

test("what comes to an empty gate enters at once", async () => {
  const { come, entered } = gateWithLog();
  come(1, 8 * MIB);
  expect(entered).toEqual([1]);
});

test("of a hundred values of 1 MiB in one turn eight enter, the next in the next turn, and never more than 16 MiB are inside", async () => {
  const { gate, come, entered, away } = gateWithLog();
  const all = Array.from({ length: 100 }, (_, index) => index);
  for (const request of all) come(request, MIB);
  expect(entered).toHaveLength(8);
  await turn();
  expect(entered).toHaveLength(16);
  await turn();
  expect(entered).toHaveLength(16);
  for (const request of all) {
    gate.left(request);
    await turn();
    expect(entered.length).toBeLessThanOrEqual(request + 1 + 16);
  }
  expect(entered).toEqual(all);
  expect(away).toEqual([]);
});

test("of many small writes in one turn 512 enter, the others in their order in further turns", async () => {
  const { come, entered } = gateWithLog();
  for (let request = 0; request < 1_200; request++) come(request, 10);
  expect(entered).toHaveLength(512);
  await turn();
  expect(entered).toHaveLength(1_024);
  await turn();
  expect(entered).toEqual(Array.from({ length: 1_200 }, (_, index) => index));
});

test("of values that are broadcast no more than 2 MiB are inside", async () => {
  const { gate, come, entered } = gateWithLog();
  for (let request = 0; request < 100; request++) come(request, 40_000);
  for (let turns = 0; turns < 5; turns++) await turn();
  expect(entered).toHaveLength(52);
  gate.left(0);
  await turn();
  expect(entered).toHaveLength(53);
});

test("nobody who comes later enters before one that waits", async () => {
  const { gate, come, entered } = gateWithLog();
  for (let request = 1; request <= 3; request++) come(request, 8 * MIB);
  await turn();
  come(4, 1);
  await turn();
  expect(entered).toEqual([1, 2]);
  gate.left(1);
  await turn();
  expect(entered).toEqual([1, 2, 3]);
  gate.left(2);
  await turn();
  expect(entered).toEqual([1, 2, 3, 4]);
});

test("who waits longer than it may is turned away, and does not enter later", async () => {
  const { gate, come, entered, away } = gateWithLog();
  for (let request = 1; request <= 3; request++) come(request, 8 * MIB, 1_000);
  await turn();
  vi.advanceTimersByTime(999);
  expect(away).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(away).toEqual([3]);
  gate.left(1);
  gate.left(2);
  await turn();
  expect(entered).toEqual([1, 2]);
});

test("who gives up while it waits does not enter, and whoever is inside cannot give up", async () => {
  const { gate, come, entered } = gateWithLog();
  for (let request = 1; request <= 4; request++) come(request, 8 * MIB);
  await turn();
  expect(gate.withdraw(3)).toBe(true);
  expect(gate.withdraw(1)).toBe(false);
  gate.left(1);
  await turn();
  expect(entered).toEqual([1, 2, 4]);
});

test("more than 256 MiB, or 16,384 writes, do not wait: they are turned away at once", async () => {
  const byBytes = gateWithLog();
  for (let request = 0; request < 8 + 256; request++) byBytes.come(request, MIB);
  expect(byBytes.away).toEqual([]);
  byBytes.come(300, 1);
  expect(byBytes.away).toEqual([300]);
  const byCount = gateWithLog();
  for (let request = 0; request < 512 + 16_384; request++) byCount.come(request, 0);
  expect(byCount.away).toEqual([]);
  byCount.come(20_000, 0);
  expect(byCount.away).toEqual([20_000]);
});

test("a closed gate lets nobody in and wakes nobody", async () => {
  const { gate, come, entered, away } = gateWithLog();
  for (let request = 1; request <= 3; request++) come(request, 8 * MIB, 1_000);
  gate.close();
  gate.left(1);
  vi.advanceTimersByTime(2_000);
  expect(entered).toEqual([1]);
  expect(away).toEqual([]);
});
