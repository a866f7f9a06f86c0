/**
 * Goal: when a fifth of the members die at once, without a word, no broadcast misses a survivor, and the tree is whole
 * again after a few.
 *
 * Method: warm up, kill a random fifth (their links stay up and silent; nobody is told), publish ten times from survivors
 * chosen at random. No link is closed, so all repair is the broadcast's own.
 */
import { below, SeededRandom } from "../../../src/proto/random.ts";
import { BroadcastWorld } from "../broadcast-world.ts";
import type { Scenario } from "./scenario.ts";

const WARM_UP = 5;
const AFTERWARDS = 10;
/** By then every broken branch has been met by a broadcast. */
const REPAIRED_AFTER = 4;

export const broadcastDeaths: Scenario = {
  name: "broadcast-deaths",
  summary: "a fifth of the members die at once",
  nodes: 500,
  run({ nodes, seed }) {
    const world = new BroadcastWorld({ nodes, seed });
    const random = new SeededRandom(seed).fork("deaths");
    world.startLinked();
    world.world.run(1_000);
    const figures: Record<string, number> = {};
    const failures: string[] = [];
    for (let round = 0; round < WARM_UP; round++) world.measure(below(random, nodes));
    for (let index = 0; index < nodes; index++) if (below(random, 5) === 0) world.world.crash(index);
    let repaired = 0;
    for (let round = 0; round < AFTERWARDS; round++) {
      let by = below(random, nodes);
      while (world.stateOf(by) !== "running") by = below(random, nodes);
      const spread = world.measure(by, 5_000);
      if (round === 0) {
        figures["firstLastMs"] = Math.round(spread.lastMs);
        figures["firstRedundancy"] = Math.round(spread.redundancy * 1_000) / 1_000;
        figures["firstGrafts"] = spread.grafts;
      }
      if (spread.missed > 0) failures.push(`broadcast ${round} after the deaths missed ${spread.missed} survivors`);
      if (round >= REPAIRED_AFTER) repaired += spread.redundancy / (AFTERWARDS - REPAIRED_AFTER);
      figures["lastMs"] = Math.round(spread.lastMs);
    }
    figures["redundancyRepaired"] = Math.round(repaired * 1_000) / 1_000;
    if (repaired > 0.05) failures.push(`redundancy is still ${repaired}`);
    return { simulatedMs: world.world.elapsedMs, digest: world.world.digest, failures, figures };
  },
};
