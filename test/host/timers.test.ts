import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Timers } from "../../src/host/timers.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a timer runs once, and none runs after the host has stopped", () => {
  const ran: string[] = [];
  const timers = new Timers();
  timers.later(10, () => ran.push("first"));
  timers.later(30, () => ran.push("second"));
  vi.advanceTimersByTime(20);
  timers.stop();
  timers.later(1, () => ran.push("third"));
  vi.advanceTimersByTime(1_000);
  expect(ran).toEqual(["first"]);
});

test("a wait that the runtime cannot count does not end at once", () => {
  const ran: string[] = [];
  const timers = new Timers();
  timers.later(Number.MAX_SAFE_INTEGER, () => ran.push("too soon"));
  vi.advanceTimersByTime(86_400_000);
  expect(ran).toEqual([]);
  timers.stop();
});
