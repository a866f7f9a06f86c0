import { expect, test } from "vitest";
import { Carriage } from "../../src/agent/carriage.ts";
import { peerIdOf } from "../../src/proto/peer-id.ts";
import { CARRY_RATE, MAX_CARRIED, MAX_CARRIED_PER_ORIGIN } from "../../src/proto/routing/limits.ts";

const peer = (byte: number) => peerIdOf(new Uint8Array(32).fill(byte));

test("an origin has a number of channels carried and no more, until one of them ends", () => {
  const carriage = new Carriage(() => 0);
  const taken = Array.from({ length: MAX_CARRIED_PER_ORIGIN }, () => carriage.take(peer(1)));
  expect(taken.every((account) => account !== undefined)).toBe(true);
  expect(carriage.take(peer(1))).toBeUndefined();
  expect(carriage.take(peer(2))).toBeDefined();
  taken[0]?.close();
  expect(carriage.take(peer(1))).toBeDefined();
});

test("all origins together have their number too", () => {
  const carriage = new Carriage(() => 0);
  let carried = 0;
  for (let origin = 0; origin < 100; origin++) if (carriage.take(peer(origin)) !== undefined) carried++;
  expect(carried).toBe(MAX_CARRIED);
  expect(carriage.size).toBe(MAX_CARRIED);
});

test("what an origin sends beyond its rate waits, over all its channels, and others do not", () => {
  let now = 0;
  const carriage = new Carriage(() => now);
  const [first, second] = [carriage.take(peer(1)), carriage.take(peer(1))];
  expect(first?.waitMs(CARRY_RATE.burst)).toBe(0);
  expect(second?.waitMs(CARRY_RATE.perSecond / 10)).toBe(100);
  expect(carriage.take(peer(2))?.waitMs(1_000)).toBe(0);
  now = 10_000;
  expect(first?.waitMs(1_000)).toBe(0);
});
