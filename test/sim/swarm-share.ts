import { expect, test } from "vitest";
import { meshHeals, runSwarm } from "./scenarios/swarm.ts";

/** `SWARM_SEEDS` and `SWARM_NODES` say how many of each, for a longer or a shorter run. */
const SEEDS = Number(process.env["SWARM_SEEDS"] ?? 200);
const NODES = Number(process.env["SWARM_NODES"] ?? meshHeals.nodes);
const SEEDS_PER_TEST = 10;
/** Ten seeds with 50 nodes on a busy machine. */
const TEST_TIMEOUT_MS = 240_000;

/** The seeds are shared out to this many test files, which run beside each other. */
const SHARES = 4;

/** Runs one share (1 to 4) of the swarm: ten seeds are a test, and each file takes every fourth ten. */
export function testShare(share: number): void {
  const firsts: number[] = [];
  for (let first = 1 + (share - 1) * SEEDS_PER_TEST; first <= SEEDS; first += SHARES * SEEDS_PER_TEST)
    firsts.push(first);
  test.each(firsts)("meshes heal from the faults of ten seeds from %i on", { timeout: TEST_TIMEOUT_MS }, (first) => {
    for (let seed = first; seed < first + SEEDS_PER_TEST && seed <= SEEDS; seed++) {
      const replay = `npm run sim -- --scenario swarm --nodes ${NODES} --seed ${seed}`;
      expect(
        attempt(() => runSwarm({ nodes: NODES, seed }).failures, replay),
        replay,
      ).toEqual([]);
    }
  });
}

/** Adds the command that repeats it to whatever a run throws. */
function attempt<Result>(run: () => Result, replay: string): Result {
  try {
    return run();
  } catch (error) {
    throw new Error(`replay: ${replay}`, { cause: error });
  }
}
