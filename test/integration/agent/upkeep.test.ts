import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Upkeep } from "../../../src/agent/upkeep.ts";
import type { Mesh } from "../../../src/proto/mesh.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** When an agent recalls the members of its earlier life, whose number of links is this at each moment. */
function recalledAt(links: (at: number) => number): number[] {
  const times: number[] = [];
  const began = Date.now();
  const mesh = {
    get links() {
      return { size: links(Date.now() - began) };
    },
  } as Pick<Mesh, "links"> as Mesh;
  const upkeep = new Upkeep();
  upkeep.recallMembers(mesh, () => times.push(Date.now() - began));
  vi.advanceTimersByTime(60_000);
  upkeep.stop();
  return times;
}

test("an agent that finds nobody goes by the members that it remembers", () => {
  expect(recalledAt(() => 0)).toEqual([2_000]);
});

test("an agent that finds a member asks it first: who is remembered counts as down until it says otherwise", () => {
  expect(recalledAt((at) => (at > 300 ? 1 : 0))).toEqual([10_000]);
});

test("an agent that nobody answers tries its servers every two seconds, for half a minute, while none is there", () => {
  const nudges: number[] = [];
  const began = Date.now();
  let ready = true;
  const servers = {
    nudge: () => void nudges.push(Date.now() - began),
    get ready() {
      return ready;
    },
  };
  const upkeep = new Upkeep();
  upkeep.isolated(servers);
  vi.advanceTimersByTime(4_000);
  expect(nudges).toEqual([0]);
  ready = false;
  vi.advanceTimersByTime(60_000);
  expect(nudges.slice(1)).toEqual(Array.from({ length: 13 }, (_, index) => 6_000 + index * 2_000));
  upkeep.stop();
});
