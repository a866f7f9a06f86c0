import { describe, expect, test } from "vitest";
import {
  CROWDED_WINDOW_BYTES,
  EARLY_CREDIT_BYTES,
  INITIAL_WINDOW_BYTES,
  LINK_ASSEMBLY_BYTES,
  LINK_WINDOW_BYTES,
  MAX_WINDOW_BYTES,
} from "../../../src/proto/streams/limits.ts";
import { ReceiveWindow, WindowBudget } from "../../../src/proto/streams/receive-window.ts";

describe("receive window", () => {
  test("before it is opened the peer has the early credit", () => {
    const window = new ReceiveWindow(new WindowBudget());
    expect(window.allows(EARLY_CREDIT_BYTES)).toBe(true);
    expect(window.allows(EARLY_CREDIT_BYTES + 1)).toBe(false);
  });

  test("what is consumed is granted again, an eighth of the window at a time", () => {
    const window = new ReceiveWindow(new WindowBudget());
    expect(window.open()).toBe(INITIAL_WINDOW_BYTES);
    window.delivered(INITIAL_WINDOW_BYTES);
    expect(window.consumed(INITIAL_WINDOW_BYTES / 8 - 1)).toBe(true);
    expect(window.grant(undefined, 0)).toBe(0);
    window.consumed(1);
    expect(window.grant(undefined, 0)).toBe(INITIAL_WINDOW_BYTES / 8);
    expect(window.allows(INITIAL_WINDOW_BYTES + INITIAL_WINDOW_BYTES / 8)).toBe(true);
    expect(window.allows(INITIAL_WINDOW_BYTES + INITIAL_WINDOW_BYTES / 8 + 1)).toBe(false);
  });

  test("an application cannot consume more than it was given", () => {
    const window = new ReceiveWindow(new WindowBudget());
    window.open();
    window.delivered(10);
    expect(window.consumed(11)).toBe(false);
    expect(window.consumed(10)).toBe(true);
  });

  /** Consumes `total` at `bytesPerMs`, a quarter of the initial window at a time; returns the largest window in use. */
  function consume(window: ReceiveWindow, total: number, bytesPerMs: number, rttMs: number | undefined): number {
    const step = INITIAL_WINDOW_BYTES / 4;
    let granted = INITIAL_WINDOW_BYTES;
    let largest = granted;
    for (let done = step; done <= total; done += step) {
      window.delivered(step);
      window.consumed(step);
      granted += window.grant(rttMs, 1_000 + done / bytesPerMs);
      largest = Math.max(largest, granted - done);
    }
    return largest;
  }

  test("it grows until the path and not the window limits, to 16 MiB at most", () => {
    const fast = new ReceiveWindow(new WindowBudget());
    fast.open();
    // 100 MB/s at 100 ms: 10 MB on the way.
    expect(consume(fast, 200_000_000, 100_000, 100)).toBe(MAX_WINDOW_BYTES);
    const slow = new ReceiveWindow(new WindowBudget());
    slow.open();
    expect(consume(slow, 200_000_000, 100_000, 5)).toBe(INITIAL_WINDOW_BYTES);
    const middling = new ReceiveWindow(new WindowBudget());
    middling.open();
    expect(consume(middling, 200_000_000, 10_000, 200)).toBe(4 * INITIAL_WINDOW_BYTES);
  });

  test("without a known round trip it stays as it is", () => {
    const window = new ReceiveWindow(new WindowBudget());
    window.open();
    expect(consume(window, 50_000_000, 100_000, undefined)).toBe(INITIAL_WINDOW_BYTES);
  });

  test("the windows of a link together stay within their budget, beyond which new ones are small", () => {
    const budget = new WindowBudget();
    const windows = Array.from({ length: 100 }, () => new ReceiveWindow(budget));
    const sizes = windows.map((window) => window.open());
    expect(sizes.filter((size) => size === INITIAL_WINDOW_BYTES).length).toBe(LINK_WINDOW_BYTES / INITIAL_WINDOW_BYTES);
    expect(sizes.at(-1)).toBe(CROWDED_WINDOW_BYTES);
    for (const window of windows) window.close();
    expect(budget.windowBytes).toBe(0);
    expect(new ReceiveWindow(budget).open()).toBe(INITIAL_WINDOW_BYTES);
  });

  test("a message longer than its window is promised room, from a budget that comes back when it is consumed", () => {
    const budget = new WindowBudget();
    const window = new ReceiveWindow(budget);
    window.open();
    const total = 8 * INITIAL_WINDOW_BYTES;
    expect(window.promise(total, total)).toBe(total - INITIAL_WINDOW_BYTES);
    expect(window.promise(total, total)).toBe(0);
    expect(window.allows(total)).toBe(true);
    expect(budget.assemblyBytes).toBe(total - INITIAL_WINDOW_BYTES);
    window.delivered(total);
    window.consumed(total);
    expect(window.grant(undefined, 0)).toBe(INITIAL_WINDOW_BYTES);
    expect(budget.assemblyBytes).toBe(0);
  });

  test("promises beyond the budget are not made", () => {
    const budget = new WindowBudget();
    const first = new ReceiveWindow(budget);
    const second = new ReceiveWindow(budget);
    first.open();
    second.open();
    expect(first.promise(LINK_ASSEMBLY_BYTES + INITIAL_WINDOW_BYTES, LINK_ASSEMBLY_BYTES + INITIAL_WINDOW_BYTES)).toBe(
      LINK_ASSEMBLY_BYTES,
    );
    expect(second.promise(INITIAL_WINDOW_BYTES + 1, INITIAL_WINDOW_BYTES + 1)).toBeUndefined();
    first.close();
    expect(second.promise(INITIAL_WINDOW_BYTES + 1, INITIAL_WINDOW_BYTES + 1)).toBe(1);
  });

  test("a message that fits into the window waits for it", () => {
    const window = new ReceiveWindow(new WindowBudget());
    window.open();
    expect(window.promise((INITIAL_WINDOW_BYTES * 7) / 8, INITIAL_WINDOW_BYTES + 1)).toBe(0);
    expect(window.promise((INITIAL_WINDOW_BYTES * 7) / 8 + 1, INITIAL_WINDOW_BYTES + 1)).toBe(1);
  });

  test("before a stream is accepted nothing is promised", () => {
    expect(new ReceiveWindow(new WindowBudget()).promise(1_000_000, 1_000_000)).toBe(0);
  });
});
