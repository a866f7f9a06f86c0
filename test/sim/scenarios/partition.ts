/**
 * Goal: a cluster that was cut in two grows together, and what both sides believed of each other does no harm afterwards.
 *
 * Method: two halves do not reach each other for ten minutes; each half declares the other down and goes on. Half a minute after
 * the cut has healed there is one cluster again, in which everybody holds everybody for alive, and for two minutes nobody who
 * runs is declared down.
 */
import { SeededRandom, shuffle } from "../../../src/proto/random.ts";
import { Census } from "../census.ts";
import { MeshRun } from "../mesh-run.ts";
import { beginSettled, isTogether, runUntil } from "../settle.ts";
import type { Scenario } from "./scenario.ts";

const CUT_MS = 600_000;
const HEAL_WITHIN_MS = 30_000;
const AFTERWARDS_MS = 120_000;

export const partition: Scenario = {
  name: "partition",
  summary: "two halves for ten minutes, then one cluster again",
  nodes: 100,
  run({ nodes, seed }) {
    const census = new Census(() => run);
    const run: MeshRun = new MeshRun({ nodes, seed, witness: (index, event) => census.watch(index, event) });
    const { world } = run;
    const failures: string[] = [];
    beginSettled(run);
    const sides = Array.from({ length: nodes }, (_, index) => index % 2);
    shuffle(new SeededRandom(seed).fork("partition"), sides);
    census.counting = false;
    world.change((network) => network.setGroups(sides));
    world.run(CUT_MS);
    let apart = 0;
    for (let index = 0; index < nodes; index++) {
      for (const { member, state } of run.view(index)) if (state === "down" && sides[member] !== sides[index]) apart++;
    }
    world.change((network) => network.heal());
    const healedMs = runUntil(run, HEAL_WITHIN_MS, () => isTogether(run));
    if (healedMs === undefined) failures.push(`not one cluster ${HEAL_WITHIN_MS / 1_000} s after the cut`);
    census.counting = true;
    world.run(AFTERWARDS_MS);
    const { falseDeaths } = census;
    if (falseDeaths.length > 0) failures.push(`${falseDeaths.length} false deaths afterwards`);
    if (!isTogether(run)) failures.push("not one cluster at the end");
    const pairs = nodes * Math.floor(nodes / 2);
    const figures = {
      apartShare: Math.round((1_000 * apart) / pairs) / 1_000,
      healedMs: healedMs ?? -1,
      falseDeathsAfterwards: falseDeaths.length,
    };
    return { simulatedMs: world.elapsedMs, digest: world.digest, failures, figures };
  },
};
