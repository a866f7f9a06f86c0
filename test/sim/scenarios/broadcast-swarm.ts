/**
 * Goal: broadcasts reach every living member exactly once, whatever goes wrong for a while.
 *
 * Method: swarm testing. Each seed draws its own mix of crashes, reboots, freezes, partitions, one-way loss, packet loss,
 * slowness, failing dials and closed links; members publish throughout. Faults that cut a member off last 8 s at most:
 * what a longer absence misses is for the anti-entropy of each consumer, which this node does not have.
 */
import { below, SeededRandom } from "../../../src/proto/random.ts";
import { BroadcastWorld } from "../broadcast-world.ts";
import { broadcastsArriveOnce, levelsStayWithinLimits } from "../checkers.ts";
import { drawSchedule } from "../faults.ts";
import { swarm } from "../swarm.ts";
import type { Scenario } from "./scenario.ts";

const PHASES = { joinMs: 5_000, settleMs: 30_000, faultsMs: 60_000, tailMs: 60_000 };
const PUBLISH_FROM_MS = PHASES.joinMs + PHASES.settleMs;
const PUBLISH_FOR_MS = PHASES.faultsMs + 10_000;
const LONGEST_FAULT_MS = 8_000;

export const broadcastSwarm: Scenario = {
  name: "broadcast-swarm",
  summary: "broadcasts reach everybody once under a random mix of faults",
  nodes: 50,
  run({ nodes, seed }) {
    const world = new BroadcastWorld({ nodes, seed });
    const random = new SeededRandom(seed).fork("swarm");
    const schedule = drawSchedule(random.fork("schedule"), {
      nodes,
      forMs: PHASES.faultsMs,
      longestMs: LONGEST_FAULT_MS,
    });
    let published = 0;
    const failures = swarm(world.world, world, {
      phases: PHASES,
      schedule,
      checkers: [broadcastsArriveOnce(), levelsStayWithinLimits()],
      random: random.fork("joins"),
      work: (elapsedMs) => {
        if (elapsedMs < PUBLISH_FROM_MS || elapsedMs > PUBLISH_FROM_MS + PUBLISH_FOR_MS) return;
        const by = below(random, nodes);
        if (world.stateOf(by) !== "running") return;
        world.publish(by);
        published++;
      },
    });
    const figures = {
      published,
      faults: schedule.faults.length,
      kinds: schedule.kinds.join(" "),
      messages: world.world.stats.messages,
    };
    return { simulatedMs: world.world.elapsedMs, digest: world.world.digest, failures, figures };
  },
};
