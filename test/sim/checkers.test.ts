import { expect, test } from "vitest";
import {
  broadcastsArriveOnce,
  everybodyIsUp,
  incarnationsNeverGoBack,
  levelsStayWithinLimits,
  nobodyDeadIsUp,
  type Observation,
  replicasAreEqual,
  type ViewEntry,
} from "./checkers.ts";
import { Ledger } from "./ledger.ts";
import type { MemberState } from "./member.ts";

/** Three nodes, the last of them dead, that all see each other as they are. */
function observation(
  changes: Partial<Observation> = {},
  states: MemberState[] = ["running", "running", "crashed"],
): Observation {
  return {
    size: 3,
    now: 0,
    stateOf: (index) => states[index] ?? "idle",
    bootOf: () => 1,
    view: () => [entry(0), entry(1), entry(2, "down")],
    ...changes,
  };
}

function entry(member: number, state: ViewEntry["state"] = "alive", incarnation = 0, boot = 1): ViewEntry {
  return { member, state, boot, incarnation };
}

test("a running node that another holds for down, or does not know, is a failure", () => {
  const checker = everybodyIsUp();
  expect(checker.after?.(observation())).toEqual([]);
  expect(
    checker.after?.(observation({ view: (index) => (index === 0 ? [entry(0), entry(1, "down")] : [entry(0)]) })),
  ).toEqual(["node 0 takes running node 1 for down"]);
  expect(checker.after?.(observation({ view: (index) => (index === 0 ? [entry(1)] : []) }))).toEqual([
    "node 1 takes running node 0 for unknown",
  ]);
});

test("a dead node that another holds for alive is a failure", () => {
  const checker = nobodyDeadIsUp();
  expect(checker.after?.(observation())).toEqual([]);
  expect(checker.after?.(observation({ view: (index) => (index === 1 ? [entry(2)] : []) }))).toEqual([
    "node 1 takes dead node 2 for alive",
  ]);
});

test("an incarnation may stay and grow, also by a boot, but not go back", () => {
  const checker = incarnationsNeverGoBack();
  const see = (boot: number, incarnation: number) =>
    checker.during?.(observation({ view: (index) => (index === 0 ? [entry(1, "alive", incarnation, boot)] : []) }));
  expect(see(1, 3)).toEqual([]);
  expect(see(1, 3)).toEqual([]);
  expect(see(2, 0)).toEqual([]);
  expect(see(1, 9)).toEqual(["node 0 went from incarnation 2.0 of node 1 to 1.9"]);
});

test("a broadcast that misses a node, comes twice or comes back is a failure", () => {
  const ledger = new Ledger();
  const check = (): unknown =>
    broadcastsArriveOnce().after?.(observation({ ledger }, ["running", "running", "running"]));
  ledger.published("one", 0, 0, [1, 1, 1]);
  ledger.delivered("one", 1, 1, 5);
  expect(check()).toEqual(["one of node 0 missed nodes 2"]);
  ledger.delivered("one", 2, 1, 5);
  expect(check()).toEqual([]);
  ledger.delivered("one", 2, 1, 6);
  ledger.delivered("one", 0, 1, 6);
  expect(check()).toEqual(["one came back to its publisher, node 0", "one of node 0 reached node 2 2 times"]);
});

test("a broadcast owes nothing to nodes that did not run all the time, and may die with its publisher", () => {
  const ledger = new Ledger();
  const states: MemberState[] = ["crashed", "running", "running"];
  const check = (bootOf: (index: number) => number): unknown =>
    broadcastsArriveOnce().after?.(observation({ ledger, bootOf }, states));
  ledger.published("lost", 0, 0, [1, 1, 0]);
  expect(check(() => 1)).toEqual([]);
  ledger.published("known", 0, 0, [1, 1, 1]);
  ledger.delivered("known", 1, 1, 5);
  expect(check(() => 1)).toEqual(["known of node 0 missed nodes 2"]);
  // Node 2 has rebooted since; what its next life gets does not count.
  ledger.delivered("known", 2, 2, 5);
  expect(check((index) => (index === 2 ? 2 : 1))).toEqual([]);
});

test("replicas that differ are a failure, those of dead nodes do not count", () => {
  const digests = ["x", "y", "z"];
  const replicas = (index: number) => [["app", digests[index] as string] as const];
  expect(replicasAreEqual().after?.(observation({ replicas }))).toEqual(["bucket app differs between nodes 0 and 1"]);
  digests[1] = "x";
  expect(replicasAreEqual(["app"]).after?.(observation({ replicas }))).toEqual([]);
  expect(replicasAreEqual(["app"]).after?.(observation())).toEqual([
    "node 0 lacks bucket app",
    "node 1 lacks bucket app",
  ]);
});

test("a queue above its limit is a failure", () => {
  const levels = (index: number) => [{ name: "things", size: 3 + index, limit: 3 }];
  expect(levelsStayWithinLimits().during?.(observation({ levels }))).toEqual(["node 1 has 4 in things, more than 3"]);
});
