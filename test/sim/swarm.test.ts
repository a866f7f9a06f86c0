/**
 * What the swarm rests on: equal seeds are equal runs, and its checkers notice a build that is broken. The 200 seeds themselves
 * run in `swarm-1.test.ts` to `swarm-4.test.ts`; seeds that once failed are kept in `test/vectors/seeds.json`.
 */
import { expect, test } from "vitest";
import type { MeshOutput } from "../../src/proto/mesh.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import { viewsAreEqual } from "./mesh-checkers.ts";
import { MeshRun } from "./mesh-run.ts";
import { meshHeals, runSwarm } from "./scenarios/swarm.ts";

/** Rings with gaps: a full mesh ends at 17. */
const NODES = 20;
const TEST_TIMEOUT_MS = 180_000;

/** Seeds whose mixes differ in the most: a cut with reboots, lost packets with freezes, lost signaling. */
test.each([1, 3, 5])("two runs of seed %i are equal to the last byte", { timeout: TEST_TIMEOUT_MS }, (seed) => {
  const first = meshHeals.run({ nodes: NODES, seed });
  expect(meshHeals.run({ nodes: NODES, seed })).toEqual(first);
  expect(meshHeals.run({ nodes: NODES, seed: seed + 1 }).digest).not.toBe(first.digest);
});

/** A build without the exchange of lists: members hear of each other by broadcast only. */
function neverExchanges(output: MeshOutput): boolean {
  return output.type === "send" && output.lane === Lane.gossip && (output.bytes[1] ?? 0) < 6;
}

test("views that differ are told, member by member", { timeout: TEST_TIMEOUT_MS }, () => {
  const run = new MeshRun({ nodes: NODES, seed: 1, broken: neverExchanges });
  for (let index = 0; index < NODES; index++) run.world.start(index);
  run.world.run(10_000);
  expect(viewsAreEqual(run).after?.(run)[0]).toMatch(/^node \d+ is \w+.* to node \d+, \w+/);
});

test.each<[string, (output: MeshOutput) => boolean, readonly string[]]>([
  [
    "loses what replication sends over links",
    (output) => output.type === "send" && output.lane === Lane.data,
    ["replicas are equal", "acknowledged writes survive"],
  ],
  [
    "never answers a probe or an accusation",
    (output) =>
      (output.type === "send" && output.lane === Lane.probe) ||
      (output.type === "sign" && output.label === "starling/refutation/1"),
    ["everybody is up"],
  ],
  ["never makes a list equal with another", neverExchanges, ["everybody is up"]],
])("a build that %s is caught", { timeout: TEST_TIMEOUT_MS }, (_, broken, checkers) => {
  const failures: string[] = [];
  for (let seed = 1; seed <= 4; seed++) failures.push(...runSwarm({ nodes: NODES, seed }, { broken }).failures);
  for (const checker of checkers) {
    expect(
      failures.some((failure) => failure.startsWith(`${checker},`)),
      `${checker} finds nothing`,
    ).toBe(true);
  }
});
