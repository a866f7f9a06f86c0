/**
 * Goal: a crash in a large mesh is known to every survivor within seconds, at no more traffic than the mesh has at rest.
 *
 * Method: everybody begins as a member of one mesh. Members are killed one after the other, without a word: their links stay up
 * and silent. For every survivor the time is taken until it holds the dead for down; all times together make the
 * quantiles. Nobody else may be declared down.
 */
import { below, SeededRandom } from "../../../src/proto/random.ts";
import { Census, quantile } from "../census.ts";
import type { MeshEvent } from "../mesh-node.ts";
import { MeshRun } from "../mesh-run.ts";
import type { Scenario } from "./scenario.ts";
import { costOf, rounded, withinTraffic } from "./traffic.ts";

const SETTLE_MS = 5_000;
const REST_MS = 10_000;
const DEATHS = 5;
const BETWEEN_MS = 5_000;
const AFTERWARDS_MS = 15_000;
const P50_MS = 3_000;
const P99_MS = 6_000;

export const detection: Scenario = {
  name: "detection",
  summary: "crashes in a mesh at rest: when does each survivor know?",
  nodes: 1_000,
  run({ nodes, seed }) {
    const census: Census = new Census(() => run);
    const witness = (index: number, event: MeshEvent): void => census.watch(index, event);
    const run = new MeshRun({ nodes, seed, network: { minLatencyMs: 10, maxLatencyMs: 50 }, witness });
    const { world } = run;
    const random = new SeededRandom(seed).fork("deaths");
    run.startAsOne();
    world.run(SETTLE_MS);
    const { traffic } = costOf(run, () => world.run(REST_MS));
    const sent = world.stats.messages;
    for (let death = 0; death < DEATHS; death++) {
      world.after(BETWEEN_MS * death, () => {
        let victim = below(random, nodes);
        while (world.stateOf(victim) !== "running") victim = below(random, nodes);
        census.kill(victim);
      });
    }
    const forMs = BETWEEN_MS * DEATHS + AFTERWARDS_MS;
    world.run(forMs);
    const extra = (world.stats.messages - sent) / nodes - (traffic.messagesPerNodeSecond * forMs) / 1_000;
    const times = census.detectionTimes();
    const p50Ms = Math.round(quantile(times, 0.5));
    const p99Ms = Math.round(quantile(times, 0.99));
    const missed = census.detections().reduce((sum, detected) => sum + detected.missed, 0);
    const failures = withinTraffic(traffic);
    if (!(p50Ms <= P50_MS)) failures.push(`half of the survivors know after ${p50Ms} ms only`);
    if (!(p99Ms <= P99_MS)) failures.push(`99 % of the survivors know after ${p99Ms} ms only`);
    if (missed > 0) failures.push(`${missed} times a survivor never knew`);
    if (census.falseDeaths.length > 0) failures.push(`${census.falseDeaths.length} false deaths`);
    const figures = {
      deaths: DEATHS,
      p50Ms,
      p99Ms,
      lastMs: Math.round(times.at(-1) ?? Number.NaN),
      missed,
      falseDeaths: census.falseDeaths.length,
      suspicions: run.events.get("suspect") ?? 0,
      messagesPerDeathAndNode: rounded(extra / DEATHS),
      ...traffic,
    };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};
