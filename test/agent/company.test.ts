import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { keepCompany } from "../../src/agent/company.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("an agent asks its servers and recalls its earlier life, and nudges a server that is there only once", () => {
  const done: string[] = [];
  const servers = {
    ready: true,
    introduce: () => void done.push("introduce"),
    nudge: () => void done.push("nudge"),
  };
  const company = keepCompany({ size: 0 }, servers, Date.now, () => void done.push("recall"));
  vi.advanceTimersByTime(2_100);
  expect(done).toEqual(["introduce", "introduce", "introduce", "recall"]);
  company.input({ type: "isolated" });
  expect(done.splice(0).at(-1)).toBe("nudge");
  vi.advanceTimersByTime(5_000);
  expect(done).not.toContain("nudge");
  servers.ready = false;
  vi.advanceTimersByTime(5_000);
  expect(done.filter((what) => what === "nudge").length).toBeGreaterThanOrEqual(2);
  company.close();
  done.length = 0;
  vi.advanceTimersByTime(60_000);
  expect(done).toEqual([]);
});
