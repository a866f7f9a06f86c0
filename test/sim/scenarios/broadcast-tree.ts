/**
 * Goal: after three messages a broadcast costs one copy per member and is hardly slower than a flood.
 *
 * Method: the same nodes, links and latencies carry a flood and the tree, with the same publishers. First one publisher
 * throughout, who gets a tree of its own; then, in a world of its own, a random publisher for each broadcast, so that all
 * share one tree. The first broadcasts warm up; the rest are measured. Times are compared as means, because each
 * publisher is measured against its own flood.
 */
import { below, SeededRandom } from "../../../src/proto/random.ts";
import { BroadcastWorld } from "../broadcast-world.ts";
import type { Scenario, ScenarioOptions } from "./scenario.ts";
import { rounded } from "./traffic.ts";

const NETWORK = { minLatencyMs: 10, maxLatencyMs: 50 };
const WARM_UP = 3;
const MEASURED = 10;
/** Far longer than the last delivery: what is measured begins with nothing under way. */
const EACH_MS = 2_000;
/** A publisher with a tree of its own: above jitter and detours. */
const OWN = { redundancy: 0.05, slower: 1.25 };
/** The paths of a shared tree are up to twice the shortest. */
const SHARED = { redundancy: 0.5, slower: 2.5 };

interface Means {
  readonly lastMs: number;
  readonly redundancy: number;
  readonly announcements: number;
  readonly missed: number;
  readonly hops: number;
}

/** The means over the broadcasts of one world; the publishers are drawn from the seed. */
function measure(options: ScenarioOptions, flood: boolean, single: boolean): { means: Means; world: BroadcastWorld } {
  const world = new BroadcastWorld({ ...options, network: NETWORK, flood });
  const random = new SeededRandom(options.seed).fork("publishers");
  world.startLinked();
  world.world.run(1_000);
  const publisher = below(random, options.nodes);
  const sum = { lastMs: 0, redundancy: 0, announcements: 0, missed: 0, hops: 0 };
  for (let round = 0; round < WARM_UP + MEASURED; round++) {
    const spread = world.measure(single ? publisher : below(random, options.nodes), EACH_MS);
    sum.missed += spread.missed;
    if (round < WARM_UP) continue;
    sum.lastMs += spread.lastMs / MEASURED;
    sum.redundancy += spread.redundancy / MEASURED;
    sum.announcements += spread.announcements / MEASURED / options.nodes;
    sum.hops = Math.max(sum.hops, spread.hops);
  }
  return { means: sum, world };
}

export const broadcastTree: Scenario = {
  name: "broadcast-tree",
  summary: "redundancy and last delivery of the broadcast trees, against a flood",
  nodes: 200,
  run(options) {
    const failures: string[] = [];
    const figures: Record<string, number> = {};
    const digests: string[] = [];
    let simulatedMs = 0;
    for (const single of [true, false]) {
      const name = single ? "own" : "shared";
      const bound = single ? OWN : SHARED;
      const flood = measure(options, true, single);
      const tree = measure(options, false, single);
      const slower = tree.means.lastMs / flood.means.lastMs;
      figures[`${name}Redundancy`] = rounded(tree.means.redundancy);
      figures[`${name}LastMs`] = rounded(tree.means.lastMs);
      figures[`${name}FloodLastMs`] = rounded(flood.means.lastMs);
      figures[`${name}FloodRedundancy`] = rounded(flood.means.redundancy);
      figures[`${name}LastVsFlood`] = rounded(slower);
      figures[`${name}Hops`] = tree.means.hops;
      figures[`${name}AnnouncementsPerNode`] = rounded(tree.means.announcements);
      if (tree.means.missed > 0) failures.push(`${name} tree: ${tree.means.missed} deliveries missed`);
      if (tree.means.redundancy > bound.redundancy) failures.push(`${name} tree: redundancy ${tree.means.redundancy}`);
      if (slower > bound.slower) failures.push(`${name} tree: ${slower} times a flood`);
      for (const { world } of [flood, tree]) {
        digests.push(world.world.digest);
        simulatedMs += world.world.elapsedMs;
      }
    }
    return { simulatedMs, digest: digests.join("-"), failures, figures };
  },
};
