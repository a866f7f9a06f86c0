/**
 * Goal: members that are themselves unwell do not bring down those that are well, and nobody learns of a real death later for
 * it. The experiment of Lifeguard (Dadgar, Phillips and Currey, 2018).
 *
 * Method: 128 members, of which 1, 4, 8, 16 and 32 freeze and thaw for two minutes: they stand still for several seconds, longer
 * than any of their time-outs, and run for a moment in between. Meanwhile ten healthy members are killed. The same once
 * more with a build that does not watch its own health. False deaths of healthy members, in anybody's list, are to be at most a
 * fiftieth of what they are there, and deaths known as soon.
 */
import { below, fraction, SeededRandom, shuffle } from "../../../src/proto/random.ts";
import { Census, quantile } from "../census.ts";
import type { MeshEvent } from "../mesh-node.ts";
import { MeshRun } from "../mesh-run.ts";
import { beginSettled, isTogether, runUntil } from "../settle.ts";
import type { Scenario, ScenarioOptions } from "./scenario.ts";

const FROZEN_COUNTS = [1, 4, 8, 16, 32];
const TROUBLE_MS = 120_000;
/** Healthy members that are killed meanwhile, one after the other: with so many, chance hardly shows in the median. */
const DEATHS = 10;
/** A member stands still for this long and runs for a moment, again and again. */
const FREEZE_LEAST_MS = 2_000;
const FREEZE_SPAN_MS = 14_000;
const AWAKE_LEAST_MS = 20;
const AWAKE_SPAN_MS = 2_000;
const HEAL_MS = 60_000;
const FEWER = 50;
/** Clocks of suspicions are spread by chance; a mean that differs by less is no difference. */
const NO_SLOWER = 1.1;

interface Outcome {
  readonly falseDeaths: number;
  readonly falseDeathsAtHealthy: number;
  readonly detections: readonly number[];
  readonly missed: number;
  readonly healedMs: number | undefined;
  readonly failures: readonly string[];
  readonly digest: string;
  readonly simulatedMs: number;
}

/** One world: `count` of `nodes` freeze and thaw. */
function experiment({ nodes, seed }: ScenarioOptions, count: number, localHealth: boolean): Outcome {
  const random = new SeededRandom(seed).fork(`lifeguard ${count}`);
  const order = shuffle(
    random,
    Array.from({ length: nodes }, (_, index) => index),
  );
  const faulty = new Set(order.slice(0, count));
  const victims = order.slice(count, count + DEATHS);
  const census = new Census(() => run, faulty);
  const witness = (index: number, event: MeshEvent): void => census.watch(index, event);
  const run: MeshRun = new MeshRun({ nodes, seed, localHealth, witness });
  const { world } = run;
  const failures: string[] = [];
  beginSettled(run);
  const end = world.now + TROUBLE_MS;
  const freeze = (index: number): void => {
    if (world.now >= end) return;
    world.freeze(index);
    world.after(FREEZE_LEAST_MS + FREEZE_SPAN_MS * fraction(random), () => {
      world.thaw(index);
      world.after(AWAKE_LEAST_MS + AWAKE_SPAN_MS * fraction(random), () => freeze(index));
    });
  };
  for (const index of faulty) world.after(below(random, FREEZE_SPAN_MS), () => freeze(index));
  victims.forEach((victim, place) => {
    world.after((TROUBLE_MS * (place + 1)) / (DEATHS + 1), () => census.kill(victim));
  });
  world.run(TROUBLE_MS + FREEZE_LEAST_MS + FREEZE_SPAN_MS);
  const healedMs = runUntil(run, HEAL_MS, () => isTogether(run));
  return {
    falseDeaths: census.falseDeaths.length,
    falseDeathsAtHealthy: census.falseDeathsAtHealthy,
    detections: census.detectionTimes(),
    missed: census.detections().reduce((sum, { missed }) => sum + missed, 0),
    healedMs,
    failures,
    digest: world.digest,
    simulatedMs: world.elapsedMs,
  };
}

export const lifeguard: Scenario = {
  name: "lifeguard",
  summary: "members that freeze and thaw accuse nobody falsely, against a build without local health",
  nodes: 128,
  run(options) {
    const failures: string[] = [];
    const figures: Record<string, number> = {};
    const digests: string[] = [];
    const sums = {
      on: { falseDeaths: 0, detections: [] as number[] },
      off: { falseDeaths: 0, detections: [] as number[] },
    };
    let simulatedMs = 0;
    for (const count of FROZEN_COUNTS) {
      if (count * 4 > options.nodes) continue;
      for (const build of ["on", "off"] as const) {
        const outcome = experiment(options, count, build === "on");
        failures.push(...outcome.failures.map((failure) => `${count} frozen, ${build}: ${failure}`));
        if (build === "on" && outcome.healedMs === undefined)
          failures.push(`${count} frozen: not whole after ${HEAL_MS / 1_000} s`);
        if (build === "on" && outcome.missed > 0)
          failures.push(`${count} frozen: ${outcome.missed} deaths were not seen`);
        figures[`${build}FalseDeaths${count}`] = outcome.falseDeaths;
        figures[`${build}FalseDeathsAtHealthy${count}`] = outcome.falseDeathsAtHealthy;
        figures[`${build}DetectionP50Ms${count}`] = Math.round(quantile(outcome.detections, 0.5));
        figures[`${build}DetectionP99Ms${count}`] = Math.round(quantile(outcome.detections, 0.99));
        sums[build].falseDeaths += outcome.falseDeaths;
        sums[build].detections.push(...outcome.detections);
        digests.push(outcome.digest);
        simulatedMs += outcome.simulatedMs;
      }
    }
    const { on, off } = sums;
    const median = (times: number[]): number =>
      quantile(
        times.sort((a, b) => a - b),
        0.5,
      );
    const [onMs, offMs] = [median(on.detections), median(off.detections)];
    Object.assign(figures, { onFalseDeaths: on.falseDeaths, offFalseDeaths: off.falseDeaths });
    Object.assign(figures, { onDetectionP50Ms: Math.round(onMs), offDetectionP50Ms: Math.round(offMs) });
    if (on.falseDeaths * FEWER > off.falseDeaths)
      failures.push(`${on.falseDeaths} false deaths, ${off.falseDeaths} without local health`);
    if (onMs > NO_SLOWER * offMs)
      failures.push(`a death is known after ${onMs} ms, after ${offMs} ms without local health`);
    return { simulatedMs, digest: digests.join("-"), failures, figures };
  },
};
