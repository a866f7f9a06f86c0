/**
 * Goal: members with a broken network take no healthy member down, and all healthy members agree about who is there. The
 * experiments of Rapid (Suresh and others, 2018), in which other failure detectors waver for as long as the fault lasts.
 *
 * Method: one member in a hundred gets a fault, in a world of its own for each kind: it receives nothing while what it sends
 * arrives (`ingress`); the same for 20 s in every 40 (`flipflop`); it loses 80 % of what it sends (`egress`). The faults last for two minutes. No
 * healthy member may be declared down by a healthy one, and at 60 s and from then on 99.9 % of the healthy members hold the
 * same list; where faulty members come and go, at the end of each period.
 */
import { SeededRandom, shuffle } from "../../../src/proto/random.ts";
import { agreement } from "../agreement.ts";
import { Census } from "../census.ts";
import { MeshRun } from "../mesh-run.ts";
import type { Network } from "../network.ts";
import { beginSettled, isTogether, runUntil } from "../settle.ts";
import type { Scenario, ScenarioOptions } from "./scenario.ts";

const FAULTY_SHARE = 0.01;
const FAULT_MS = 120_000;
const AGREE_BY_MS = 60_000;
const LOOK_EVERY_MS = 5_000;
const AGREEING = 0.999;
const FLIP_MS = 20_000;
const EGRESS_LOSS = 0.8;
const HEAL_MS = 120_000;

type Kind = "ingress" | "flipflop" | "egress";

function afflict(network: Network, kind: Kind, node: number, afflicted: boolean): void {
  if (kind === "egress") network.setEgressLoss(node, afflicted ? EGRESS_LOSS : 0);
  else network.setDeaf(node, afflicted);
}

interface Outcome {
  readonly failures: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
  readonly digest: string;
  readonly simulatedMs: number;
}

function experiment({ nodes, seed }: ScenarioOptions, kind: Kind): Outcome {
  const random = new SeededRandom(seed).fork(`rapid ${kind}`);
  const order = shuffle(
    random,
    Array.from({ length: nodes }, (_, index) => index),
  );
  const faultyCount = Math.max(1, Math.round(nodes * FAULTY_SHARE));
  const faulty = new Set(order.slice(0, faultyCount));
  const healthy = order.slice(faultyCount);
  const census = new Census(() => run, faulty);
  const run: MeshRun = new MeshRun({ nodes, seed, witness: (index, event) => census.watch(index, event) });
  const { world } = run;
  const failures: string[] = [];
  beginSettled(run);
  const change = (afflicted: boolean): void => {
    world.change((network) => {
      for (const node of faulty) afflict(network, kind, node, afflicted);
    });
  };
  change(true);
  let agreedFrom: number | undefined;
  let least = 1;
  for (let passed = LOOK_EVERY_MS; passed <= FAULT_MS; passed += LOOK_EVERY_MS) {
    world.run(LOOK_EVERY_MS);
    const share = agreement(run, healthy);
    // While members come and go, lists change: what counts is that each period ends in agreement.
    if (kind === "flipflop" && passed % FLIP_MS !== 0) continue;
    if (kind === "flipflop") change((passed / FLIP_MS) % 2 === 0);
    if (share < AGREEING) agreedFrom = undefined;
    else agreedFrom ??= passed;
    if (passed >= AGREE_BY_MS) least = Math.min(least, share);
  }
  const { falseDeathsAtHealthy } = census;
  if (falseDeathsAtHealthy > 0) failures.push(`healthy members were declared down ${falseDeathsAtHealthy} times`);
  if (agreedFrom === undefined || agreedFrom > AGREE_BY_MS) {
    failures.push(`after ${AGREE_BY_MS / 1_000} s only ${least} of the healthy members agree`);
  }
  change(false);
  const healedMs = runUntil(run, HEAL_MS, () => isTogether(run));
  if (healedMs === undefined) failures.push(`not whole ${HEAL_MS / 1_000} s after the faults`);
  const figures = {
    falseDeathsAtHealthy,
    falseDeathsAtFaulty: census.falseDeaths.length - falseDeathsAtHealthy,
    agreedFromMs: agreedFrom ?? -1,
    leastAgreement: Math.round(least * 10_000) / 10_000,
    healedMs: healedMs ?? -1,
  };
  return { failures, figures, digest: world.digest, simulatedMs: world.elapsedMs };
}

export const rapid: Scenario = {
  name: "rapid",
  summary: "one member in a hundred with a broken network: nobody healthy is removed, and all agree",
  nodes: 1_000,
  run(options) {
    const failures: string[] = [];
    const figures: Record<string, number> = {};
    const digests: string[] = [];
    let simulatedMs = 0;
    for (const kind of ["ingress", "flipflop", "egress"] as const) {
      const outcome = experiment(options, kind);
      failures.push(...outcome.failures.map((failure) => `${kind}: ${failure}`));
      for (const [name, value] of Object.entries(outcome.figures)) figures[`${kind}.${name}`] = value;
      digests.push(outcome.digest);
      simulatedMs += outcome.simulatedMs;
    }
    return { simulatedMs, digest: digests.join("-"), failures, figures };
  },
};
