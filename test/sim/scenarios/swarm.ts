/**
 * Goal: whatever goes wrong for a while, a mesh heals. When it has been quiet for a minute, everybody holds the same members
 * for alive, nobody who lives is held down, all replicas are equal and no acknowledged write is lost; and at no time does
 * an incarnation go back, a queue overflow or an honest member get the blame for anything.
 *
 * Method: swarm testing of whole meshes. Each seed draws its own mix of crashes, reboots, freezes, partitions, one-way and
 * packet loss, slowness, lost signaling, failing dials and closed links, some longer than a suspicion takes, some members
 * leave, and members write all the while; every clock is set wrong and runs wrong. Then everything works again.
 */
import type { MeshOutput } from "../../../src/proto/mesh.ts";
import { below, type Random, SeededRandom } from "../../../src/proto/random.ts";
import {
  everybodyIsUp,
  incarnationsNeverGoBack,
  levelsStayWithinLimits,
  nobodyDeadIsUp,
  replicasAreEqual,
} from "../checkers.ts";
import { drawSchedule } from "../faults.ts";
import {
  acknowledgedWritesSurvive,
  bucketsAreEverywhere,
  nobodyIsBlamed,
  viewsAreEqual,
  watchersAreTold,
} from "../mesh-checkers.ts";
import { MeshRun } from "../mesh-run.ts";
import { swarm } from "../swarm.ts";
import type { Scenario, ScenarioOptions, ScenarioOutcome } from "./scenario.ts";

const PHASES = { joinMs: 3_000, settleMs: 5_000, faultsMs: 20_000, tailMs: 60_000 };
/** Longer than it takes to be declared down by a sole accuser; a freeze of this length is a death and a return. */
const LONGEST_FAULT_MS = 12_000;
/** All nodes accuse and refute each other around a cut: a second one costs as much time and finds little more. */
const MOST_OF_A_KIND = 2;
/** Writes go on into the tail: what is written last has to arrive as well. */
const WRITES_INTO_TAIL_MS = 10_000;
const WRITES_PER_LOOK = 3;
const LOOK_EVERY_MS = 1_000;
const BUCKETS = ["app", "config"];
const KEYS = 40;
const CLOCK_SKEW_MS = 500;
/** Twice what a clock runs wrong while it is being slewed. */
const CLOCK_DRIFT_PPM = 1_000;
/** Between an announcement of leaving and the end of the process, ms. */
const FAREWELL_MS = 150;

/** Runs one seed; `broken` takes outputs away from every node, to see that the checkers notice. */
export function runSwarm(options: ScenarioOptions, { broken }: Sabotage = {}): ScenarioOutcome {
  const { nodes, seed } = options;
  const random = new SeededRandom(seed).fork("mesh swarm");
  const loss = below(random, 2) === 0 ? 0 : 0.01;
  const run = new MeshRun({
    nodes,
    seed,
    clockSkewMs: CLOCK_SKEW_MS,
    clockDriftPpm: CLOCK_DRIFT_PPM,
    network: { loss },
    ...(broken !== undefined && { broken }),
  });
  const { world } = run;
  const { joinMs, settleMs, faultsMs } = PHASES;
  const schedule = drawSchedule(random.fork("schedule"), {
    nodes,
    forMs: faultsMs,
    longestMs: LONGEST_FAULT_MS,
    most: MOST_OF_A_KIND,
  });
  const leavers = planLeaves(run, random.fork("leaves"));
  const writer = new Writer(run, random.fork("writes"));
  const failures = swarm(world, run, {
    phases: PHASES,
    schedule,
    checkers: [
      everybodyIsUp(),
      nobodyDeadIsUp(),
      viewsAreEqual(run),
      replicasAreEqual(),
      bucketsAreEverywhere(run),
      acknowledgedWritesSurvive(run),
      watchersAreTold(run),
      incarnationsNeverGoBack(),
      levelsStayWithinLimits(),
      nobodyIsBlamed(run),
    ],
    random: random.fork("joins"),
    lookEveryMs: LOOK_EVERY_MS,
    work: (elapsedMs) => {
      if (elapsedMs >= joinMs && elapsedMs < joinMs + settleMs + faultsMs + WRITES_INTO_TAIL_MS) writer.write();
    },
  });
  const figures = {
    kinds: schedule.kinds.join(" "),
    faults: schedule.faults.length,
    leavers,
    writes: writer.count,
    acknowledged: run.journal.acknowledgements,
    events: listed(run.events),
    told: listed(run.faults),
    messages: world.stats.messages,
    forgeries: world.stats.forgeries,
  };
  return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
}

interface Sabotage {
  /** Outputs that no node carries out. */
  readonly broken?: (output: MeshOutput) => boolean;
}

export const meshHeals: Scenario = {
  name: "swarm",
  summary: "whole meshes under a random mix of faults: all of them heal, and nothing acknowledged is lost",
  nodes: 50,
  run: (options) => runSwarm(options),
};

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
}

/** Writes to random keys from random nodes. */
class Writer {
  readonly #run: MeshRun;
  readonly #random: Random;
  count = 0;

  constructor(run: MeshRun, random: Random) {
    this.#run = run;
    this.#random = random;
  }

  write(): void {
    const { world } = this.#run;
    const random = this.#random;
    for (let left = below(random, WRITES_PER_LOOK + 1); left > 0; left--) {
      const index = below(random, world.size);
      const bucket = BUCKETS[below(random, BUCKETS.length)] as string;
      const key = `key-${below(random, KEYS)}`;
      const replicas = 1 + below(random, 3);
      const request = this.count++;
      if (below(random, 5) === 0) world.command(index, { type: "delete", request, bucket, key, replicas });
      else {
        const value = new TextEncoder().encode(`value ${request} of node ${index}`);
        world.command(index, { type: "put", request, bucket, key, value, replicas });
      }
    }
  }
}

/** A few nodes leave in good order while things go wrong, if they happen to run. */
function planLeaves(run: MeshRun, random: Random): number {
  const { world } = run;
  const leavers = below(random, 4);
  for (let left = leavers; left > 0; left--) {
    const index = below(random, world.size);
    world.after(PHASES.joinMs + PHASES.settleMs + below(random, PHASES.faultsMs), () => {
      if (world.stateOf(index) !== "running") return;
      world.command(index, { type: "leave" });
      world.after(FAREWELL_MS, () => world.stop(index));
    });
  }
  return leavers;
}
