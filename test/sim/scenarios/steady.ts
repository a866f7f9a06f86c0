/**
 * Goal: a mesh at rest costs next to nothing: a member that sends five messages and 800 bytes a second at most, and a
 * simulator that is 1,000 times as fast as time at 100 nodes and does a minute of 10,000 in five.
 *
 * Method: everybody begins as a member of one mesh, with full lists and all links, which needs no signaling server.
 * What is drawn at a start (first rounds of probes and exchanges) is over after five seconds; then time, messages and memory
 * are measured for a minute and for 300,000 node-seconds at least, so that what the runtime spends on compiling does not
 * count.
 */
import { MeshRun } from "../mesh-run.ts";
import type { Scenario } from "./scenario.ts";
import { costOf, rounded, withinTraffic } from "./traffic.ts";

const SETTLE_MS = 5_000;
const LEAST_MS = 60_000;
const NODE_MS = 300_000_000;
/** Up to this many nodes the whole world fits a processor's cache. */
const FEW_NODES = 100;
const FEW_TIMES_REAL_TIME = 1_000;
const MANY_NODES = 10_000;
const MANY_CPU_MS = 300_000;
const MANY_MIB = 8_192;

export const steady: Scenario = {
  name: "steady",
  summary: "a mesh at rest: messages of each member, time and memory of the simulator",
  nodes: 100,
  run({ nodes, seed, check }) {
    const run = new MeshRun({ nodes, seed, server: false });
    const { world } = run;
    run.startAsOne();
    world.run(SETTLE_MS);
    const forMs = Math.max(LEAST_MS, NODE_MS / nodes);
    const { cpuMs, wallMs, traffic } = costOf(run, () => world.run(forMs));
    const timesRealTime = forMs / cpuMs;
    const residentMiB = process.memoryUsage.rss() / 1_048_576;
    const failures = withinTraffic(traffic);
    for (const [event, count] of run.events) failures.push(`${count} members ${event}`);
    if (check && nodes <= FEW_NODES && timesRealTime < FEW_TIMES_REAL_TIME)
      failures.push(`only ${Math.round(timesRealTime)} times as fast as time`);
    if (check && nodes <= MANY_NODES && cpuMs > MANY_CPU_MS) failures.push(`${Math.round(cpuMs)} ms of work`);
    if (check && residentMiB > MANY_MIB) failures.push(`${Math.round(residentMiB)} MiB`);
    const figures = {
      measuredMs: forMs,
      measuredWallMs: Math.round(wallMs),
      measuredCpuMs: Math.round(cpuMs),
      steadyTimesRealTime: rounded(timesRealTime),
      residentMiB: Math.round(residentMiB),
      ...traffic,
    };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};
