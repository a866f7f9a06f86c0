/**
 * Goal: when a fifth of the members die in the middle of a broadcast, without a word, every survivor has it within two
 * seconds, no later broadcast misses a survivor, and the tree is whole again after a few.
 *
 * Method: warm up, publish, and kill a random fifth while the message is under way: their links stay up and silent; nobody
 * is told. Then publish ten times from survivors chosen at random. No link is closed, so all repair is the broadcast's
 * own. What a flood makes of the same deaths is printed beside it, and so is how many survivors of a death of half of all
 * are left without a way to the others: those have to wait for new links.
 */
import { below, SeededRandom } from "../../../src/proto/random.ts";
import { BroadcastWorld } from "../broadcast-world.ts";
import type { Scenario, ScenarioOptions } from "./scenario.ts";
import { rounded } from "./traffic.ts";

const NETWORK = { minLatencyMs: 10, maxLatencyMs: 50 };
const WARM_UP = 5;
/** By then a message has crossed two or three of its links. */
const MID_MS = 80;
const ALL_HAVE_IT_MS = 2_000;
const AFTERWARDS = 10;
/** By then every broken branch has been met by a broadcast. */
const REPAIRED_AFTER = 4;
/** Twice that of a tree that is whole: the larger the mesh, the longer until all of its branches have been met. */
const REPAIRED_REDUNDANCY = 0.1;

/** A world in which a fifth has died at `MID_MS` after a message was published; how that message went. */
function dieInTheMiddle({ nodes, seed }: ScenarioOptions, flood: boolean) {
  const world = new BroadcastWorld({ nodes, seed, network: NETWORK, flood });
  const random = new SeededRandom(seed).fork("deaths");
  world.startLinked();
  world.world.run(1_000);
  for (let round = 0; round < WARM_UP; round++) world.measure(below(random, nodes));
  const by = below(random, nodes);
  world.world.after(MID_MS, () => {
    for (let index = 0; index < nodes; index++) if (index !== by && below(random, 5) === 0) world.world.crash(index);
  });
  return { world, random, spread: world.measure(by, ALL_HAVE_IT_MS) };
}

/** How many of the members that outlive a random half of all are not in the largest part that hangs together. */
function cutOffByHalf(neighbours: readonly (readonly number[])[], seed: number): number {
  const random = new SeededRandom(seed).fork("half");
  const alive = neighbours.map(() => below(random, 2) === 0);
  const seen = new Set<number>();
  let largest = 0;
  neighbours.forEach((_, start) => {
    if (!alive[start] || seen.has(start)) return;
    const part = new Set([start]);
    for (const index of part) for (const other of neighbours[index] ?? []) if (alive[other]) part.add(other);
    for (const index of part) seen.add(index);
    largest = Math.max(largest, part.size);
  });
  return seen.size - largest;
}

export const broadcastDeaths: Scenario = {
  name: "broadcast-deaths",
  summary: "a fifth of the members die at once, in the middle of a broadcast",
  nodes: 500,
  run(options) {
    const { nodes, seed } = options;
    const failures: string[] = [];
    const flooded = dieInTheMiddle(options, true);
    const { world, random, spread } = dieInTheMiddle(options, false);
    if (spread.missed > 0) failures.push(`${spread.missed} survivors lack it after ${ALL_HAVE_IT_MS} ms`);
    let repaired = 0;
    let lastMs = 0;
    for (let round = 0; round < AFTERWARDS; round++) {
      let by = below(random, nodes);
      while (world.stateOf(by) !== "running") by = below(random, nodes);
      const later = world.measure(by, 5_000);
      if (later.missed > 0) failures.push(`broadcast ${round} after the deaths missed ${later.missed} survivors`);
      if (round >= REPAIRED_AFTER) repaired += later.redundancy / (AFTERWARDS - REPAIRED_AFTER);
      lastMs = Math.round(later.lastMs);
    }
    if (repaired > REPAIRED_REDUNDANCY) failures.push(`redundancy is still ${repaired}`);
    const figures = {
      midLastMs: Math.round(spread.lastMs),
      midMissed: spread.missed,
      midRedundancy: rounded(spread.redundancy),
      midGrafts: spread.grafts,
      midFloodLastMs: Math.round(flooded.spread.lastMs),
      midFloodMissed: flooded.spread.missed,
      lastMs,
      redundancyRepaired: rounded(repaired),
      cutOffByHalf: cutOffByHalf(world.neighbours, seed),
    };
    const digest = `${flooded.world.world.digest}-${world.world.digest}`;
    return { simulatedMs: flooded.world.world.elapsedMs + world.world.elapsedMs, digest, failures, figures };
  },
};
