/**
 * Goal: whatever goes wrong for a while, afterwards all who live hold all who live for alive and all who died for down, all
 * replicas are equal, and on the way no incarnation went back.
 *
 * Method: swarm testing of complete meshes. Each seed draws its own mix of crashes, reboots, freezes, partitions, one-way
 * loss, packet loss, slowness, lost signaling, failing dials and closed links, some of them longer than a link lives; members
 * write to one bucket throughout, a few keys again and again.
 */
import { below, SeededRandom } from "../../../src/proto/random.ts";
import { everybodyIsUp, incarnationsNeverGoBack, nobodyDeadIsUp, replicasAreEqual } from "../checkers.ts";
import { drawSchedule } from "../faults.ts";
import { MeshWorld } from "../mesh-world.ts";
import { swarm } from "../swarm.ts";
import type { Scenario } from "./scenario.ts";

const PHASES = { joinMs: 5_000, settleMs: 25_000, faultsMs: 60_000, tailMs: 120_000 };
const KEYS = 50;
const CLOCK_SKEW_MS = 200;

export const meshSwarm: Scenario = {
  name: "mesh-swarm",
  summary: "complete meshes under a random mix of faults: membership and replicas agree afterwards",
  nodes: 50,
  run({ nodes, seed }) {
    const mesh = new MeshWorld({ nodes, seed, clockSkewMs: CLOCK_SKEW_MS });
    const { world } = mesh;
    const random = new SeededRandom(seed).fork("swarm");
    const schedule = drawSchedule(random.fork("schedule"), { nodes, forMs: PHASES.faultsMs });
    let writes = 0;
    const failures = swarm(world, mesh, {
      phases: PHASES,
      schedule,
      checkers: [everybodyIsUp(), nobodyDeadIsUp(), incarnationsNeverGoBack(), replicasAreEqual(["app"])],
      random: random.fork("joins"),
      work: (elapsedMs) => {
        if (elapsedMs < PHASES.joinMs || elapsedMs > PHASES.joinMs + PHASES.settleMs + PHASES.faultsMs) return;
        const value = Uint8Array.of(writes & 255, writes >> 8);
        const key = `key ${below(random, KEYS)}`;
        world.command(below(random, nodes), { type: "put", request: writes++, bucket: "app", key, value });
      },
    });
    const figures = {
      kinds: schedule.kinds.join(" "),
      faults: schedule.faults.length,
      writes,
      messages: world.stats.messages,
      forgeries: world.stats.forgeries,
      told: [...mesh.told].map(([name, count]) => `${name}: ${count}`).join(", "),
    };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};
