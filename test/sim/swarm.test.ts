/**
 * The swarm: many seeds, each with its own mix of faults, over whole meshes.
 *
 * Most seeds run with 20 nodes, enough for rings with gaps (a full mesh ends at 17) and a sixth of the time of 50; each
 * twentieth runs with 50. `SWARM_NODES=50 npx vitest run test/sim/swarm.test.ts` runs all of them with 50, and
 * `SWARM_SEEDS` says how many. Seeds that once failed are kept in `test/vectors/seeds.json` and run by `scenarios.test.ts`.
 */
import { expect, test } from "vitest";
import type { MeshOutput } from "../../src/proto/mesh.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import { meshHeals, runSwarm } from "./scenarios/swarm.ts";

const SEEDS = Number(process.env["SWARM_SEEDS"] ?? 200);
const NODES = Number(process.env["SWARM_NODES"] ?? 20);
const SEEDS_PER_TEST = 10;
const LARGE_EVERY = 20;
/** Ten seeds with 50 nodes on a busy machine. */
const TEST_TIMEOUT_MS = 180_000;

const firsts = Array.from({ length: Math.ceil(SEEDS / SEEDS_PER_TEST) }, (_, index) => 1 + index * SEEDS_PER_TEST);

test.each(firsts)("meshes heal from the faults of ten seeds from %i on", { timeout: TEST_TIMEOUT_MS }, (first) => {
  for (let seed = first; seed < first + SEEDS_PER_TEST && seed <= SEEDS; seed++) {
    const nodes = seed % LARGE_EVERY === 0 ? meshHeals.nodes : NODES;
    const replay = `npm run sim -- --scenario swarm --nodes ${nodes} --seed ${seed}`;
    expect(
      attempt(() => runSwarm({ nodes, seed }).failures, replay),
      replay,
    ).toEqual([]);
  }
});

/** Seeds whose mixes differ in the most: a cut with reboots, lost packets with freezes, lost signaling. */
test.each([1, 3, 5])("two runs of seed %i are equal to the last byte", { timeout: TEST_TIMEOUT_MS }, (seed) => {
  const first = meshHeals.run({ nodes: NODES, seed });
  expect(meshHeals.run({ nodes: NODES, seed })).toEqual(first);
  expect(meshHeals.run({ nodes: NODES, seed: seed + 1 }).digest).not.toBe(first.digest);
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
  [
    "never makes a list equal with another",
    (output) => output.type === "send" && output.lane === Lane.gossip && (output.bytes[1] ?? 0) < 6,
    ["views are equal"],
  ],
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

/** Adds the command that repeats it to whatever a run throws. */
function attempt<Result>(run: () => Result, replay: string): Result {
  try {
    return run();
  } catch (error) {
    throw new Error(`replay: ${replay}`, { cause: error });
  }
}
