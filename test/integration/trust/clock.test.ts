import { expect, test } from "vitest";
import { systemClock, turnClock } from "../../../src/drivers/clock.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import { below, randomBytes } from "../../../src/proto/random.ts";

const START = 1_800_000_000_000;

/** A clock whose two sources are moved by hand. */
function clockwork() {
  const time = { wall: START, steady: 5_000 };
  const clock = systemClock({ wall: () => Math.floor(time.wall), steady: () => time.steady });
  const pass = (ms: number, wallMs = ms): number => {
    time.steady += ms;
    time.wall += wallMs;
    return clock();
  };
  return { clock, pass };
}

test("it begins at the time of day and advances by fractions of a millisecond", () => {
  const { clock, pass } = clockwork();
  expect(clock()).toBe(START);
  expect(pass(0.25)).toBe(START + 0.25);
  expect(pass(10.5)).toBe(START + 10.75);
});

test("after sleep, during which the steady clock stood still, it jumps ahead", () => {
  const { pass } = clockwork();
  pass(100);
  expect(pass(1, 3_600_000)).toBeCloseTo(START + 100 + 3_600_000, 0);
});

test("when the time is set back it never goes back, and runs a sixteenth slower until both agree", () => {
  const { pass } = clockwork();
  const before = pass(1_000);
  expect(pass(0, -10_000)).toBe(before);
  expect(pass(160)).toBe(before + 150);
  let now = before + 150;
  for (let second = 0; second < 200; second++) {
    const next = pass(1_000);
    expect(next).toBeGreaterThan(now);
    now = next;
  }
  expect(Math.abs(now - (START + 1_000 - 10_000 + 160 + 200_000))).toBeLessThanOrEqual(2);
});

test("a small lead of the time of day is made up slowly, not by a jump", () => {
  const { pass } = clockwork();
  pass(0, 500);
  expect(pass(160)).toBe(START + 170);
});

test("a steady clock that goes back, as some virtual machines' do, moves nothing", () => {
  const { pass } = clockwork();
  const before = pass(1_000);
  expect(pass(-500, 0)).toBe(before);
});

test("the system's clock agrees with the time of day and never goes back", () => {
  const clock = systemClock();
  let last = clock();
  expect(Math.abs(last - Date.now())).toBeLessThan(100);
  for (let run = 0; run < 10_000; run++) {
    const now = clock();
    expect(now >= last).toBe(true);
    last = now;
  }
});

test("the system's randomness covers its range, across refills of its buffer", () => {
  const random = systemRandom();
  const seen = new Set<number>();
  const counts = new Array<number>(8).fill(0);
  for (let draw = 0; draw < 8_000; draw++) {
    const word = random.u32();
    expect(Number.isInteger(word) && word >= 0 && word < 2 ** 32).toBe(true);
    seen.add(word);
    counts[word >>> 29] = (counts[word >>> 29] as number) + 1;
  }
  // 8,000 draws of 2^32 collide hardly ever; each eighth holds 1,000, give or take 12 standard deviations.
  expect(seen.size).toBeGreaterThan(7_995);
  for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(360);
  expect(random.fork("a").u32()).not.toBe(random.fork("a").u32());
  expect(randomBytes(random, 7)).toHaveLength(7);
  expect(below(random, 1)).toBe(0);
});

test("a clock of turns stands still while one turn of the loop runs, and is right in the next", async () => {
  let time = START;
  const clock = turnClock(() => time);
  expect(clock()).toBe(START);
  time += 5;
  expect(clock()).toBe(START);
  await new Promise((resolve) => setImmediate(resolve));
  expect(clock()).toBe(START + 5);
});
