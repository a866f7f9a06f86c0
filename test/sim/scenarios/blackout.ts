/**
 * Goal: a cluster whose machines all went down comes back as one, though no address of before is good any more.
 *
 * Method: everybody is killed at once, stays away for five minutes and starts again within ten seconds, with what it had on disk and
 * no link: links are made anew by identity, so a new address is what every start has. The signaling server has forgotten
 * everybody. Half a minute after the last start there is one cluster, and for two minutes nobody who runs is declared down.
 */
import { below, SeededRandom } from "../../../src/proto/random.ts";
import { Census } from "../census.ts";
import { MeshRun } from "../mesh-run.ts";
import { isTogether, runUntil, settle } from "../settle.ts";
import type { Scenario } from "./scenario.ts";

const AWAY_MS = 300_000;
const RETURN_MS = 10_000;
const BACK_WITHIN_MS = 30_000;
const AFTERWARDS_MS = 120_000;

export const blackout: Scenario = {
  name: "blackout",
  summary: "everybody goes down and comes back: one cluster again",
  nodes: 100,
  run({ nodes, seed }) {
    const random = new SeededRandom(seed).fork("blackout");
    const census = new Census(() => run);
    const run: MeshRun = new MeshRun({ nodes, seed, witness: (index, event) => census.watch(index, event) });
    const { world } = run;
    const failures = settle(run, 5_000);
    for (let index = 0; index < nodes; index++) world.crash(index);
    world.signaling.server.set(false);
    world.run(AWAY_MS);
    world.signaling.server.set(true);
    for (let index = 0; index < nodes; index++) world.after(below(random, RETURN_MS), () => world.start(index));
    world.run(RETURN_MS);
    const backMs = runUntil(run, BACK_WITHIN_MS, () => isTogether(run));
    if (backMs === undefined) failures.push(`not one cluster ${BACK_WITHIN_MS / 1_000} s after the last start`);
    const before = census.falseDeaths.length;
    world.run(AFTERWARDS_MS);
    const falseDeathsAfterwards = census.falseDeaths.length - before;
    if (falseDeathsAfterwards > 0) failures.push(`${falseDeathsAfterwards} false deaths afterwards`);
    if (!isTogether(run)) failures.push("not one cluster at the end");
    const figures = { backMs: backMs ?? -1, falseDeathsWhileComingBack: before, falseDeathsAfterwards };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};
