import { expect, test } from "vitest";
import { CLOCKS_PER_MS, clockAt, HybridClock, instantOf } from "../../../src/proto/replication/hlc.ts";

test("a reading is the millisecond and a counter in one safe integer", () => {
  const clock = new HybridClock();
  expect(clock.tick(1_800_000_000_000.9)).toBe(3_686_400_000_000_000);
  expect(clock.tick(1_800_000_000_000.9)).toBe(3_686_400_000_000_001);
  expect(instantOf(clock.last)).toBe(1_800_000_000_000);
  expect(clock.tick(1_800_000_000_001)).toBe(clockAt(1_800_000_000_001));
  expect(Number.isSafeInteger(clockAt(Date.UTC(2109, 0)))).toBe(true);
});

test("readings rise when the time steps back", () => {
  const clock = new HybridClock();
  const before = clock.tick(10_000);
  expect(clock.tick(4_000)).toBe(before + 1);
  expect(clock.tick(10_001)).toBe(clockAt(10_001));
});

test("the counter carries into the milliseconds", () => {
  const clock = new HybridClock();
  for (let count = 0; count <= CLOCKS_PER_MS; count++) clock.tick(5);
  expect(clock.last).toBe(clockAt(6));
});

test("a reading follows every one that was observed", () => {
  const clock = new HybridClock();
  expect(clock.observe(clockAt(40_000), 0)).toBe(true);
  expect(clock.tick(1)).toBe(clockAt(40_000) + 1);
});

test("a reading more than a minute ahead is refused and moves nothing", () => {
  const clock = new HybridClock();
  expect(clock.observe(clockAt(60_001), 0)).toBe(false);
  expect(clock.last).toBe(0);
  expect(clock.observe(clockAt(60_000), 0)).toBe(true);
});
