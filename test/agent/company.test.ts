import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Company } from "../../src/agent/company.ts";
import { Timers } from "../../src/host/timers.ts";
import type { Mesh } from "../../src/proto/mesh.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** What an agent does in its first minute, whose number of links is this at each moment: when, ms, it asks its servers and recalls its earlier life. */
function firstMinute(links: (at: number) => number): { readonly asked: number[]; readonly recalled: number[] } {
  const began = Date.now();
  const asked: number[] = [];
  const recalled: number[] = [];
  const timers = new Timers();
  const servers = { introduce: () => void asked.push(Date.now() - began), nudge: () => undefined, ready: true };
  const mesh = {
    get links() {
      return { size: links(Date.now() - began) };
    },
  } as Pick<Mesh, "links">;
  new Company(timers, servers).begin(mesh, () => recalled.push(Date.now() - began));
  vi.advanceTimersByTime(60_000);
  timers.stop();
  vi.advanceTimersByTime(60_000);
  return { asked, recalled };
}

test("an agent that finds nobody asks its servers ever more rarely, and goes by the members that it remembers", () => {
  expect(firstMinute(() => 0)).toEqual({
    asked: [250, 750, 1_750, 3_750, 7_750, 15_750, 30_750, 45_750],
    recalled: [2_000],
  });
});

test("an agent that finds a member asks it first: who is remembered counts as down until it says otherwise", () => {
  expect(firstMinute((at) => (at > 300 ? 1 : 0))).toEqual({ asked: [250, 750], recalled: [10_000] });
});

test("an agent that nobody answers tries its servers every two seconds, for half a minute, while none is there", () => {
  const nudges: number[] = [];
  const began = Date.now();
  let ready = true;
  const servers = {
    introduce: () => undefined,
    nudge: () => void nudges.push(Date.now() - began),
    get ready() {
      return ready;
    },
  };
  const company = new Company(new Timers(), servers);
  company.isolated();
  vi.advanceTimersByTime(4_000);
  expect(nudges).toEqual([0]);
  ready = false;
  vi.advanceTimersByTime(60_000);
  expect(nudges.slice(1)).toEqual(Array.from({ length: 13 }, (_, index) => 6_000 + index * 2_000));
});
