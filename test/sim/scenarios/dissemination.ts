/**
 * Goal: what one member says of itself is known to everybody within a second, and within three on a network that loses a
 * tenth of its packets.
 *
 * Method: everybody begins as a member of one mesh, on links of 10 to 50 ms, once without loss and once with 10 %. After
 * a while members change their records, one after the other. For each change the time is taken until 99.99 % of
 * all hold the new record. The first of them lays the shared tree; the others go along it.
 */
import { below, SeededRandom } from "../../../src/proto/random.ts";
import type { MeshEvent } from "../mesh-node.ts";
import { MeshRun } from "../mesh-run.ts";
import type { Scenario, ScenarioOptions } from "./scenario.ts";

/** Long enough for links to have learnt what the network does. */
const SETTLE_MS = 30_000;
const CHANGES = 10;
const BETWEEN_MS = 6_000;
const SHARE = 0.9999;
const CASES = [
  { name: "lossless", loss: 0, mostMs: 1_000 },
  { name: "lossy", loss: 0.1, mostMs: 3_000 },
] as const;

interface Spread {
  /** For each change: when 99.99 % knew, ms; infinite when they never did. */
  readonly times: readonly number[];
  readonly sendsPerNode: number;
  readonly simulatedMs: number;
  readonly digest: string;
}

function spreadChanges({ nodes, seed }: ScenarioOptions, loss: number): Spread {
  let knowing = 0;
  let author = "";
  let changedAt = 0;
  const enough = Math.ceil(SHARE * (nodes - 1));
  const times: number[] = [];
  const witness = (_: number, event: MeshEvent): void => {
    if (event.type !== "event" || event.event !== "updated" || event.peer !== author) return;
    // The author itself is told too.
    if (++knowing === enough + 1) times.push(run.now - changedAt);
  };
  const network = { minLatencyMs: 10, maxLatencyMs: 50, loss };
  const run: MeshRun = new MeshRun({ nodes, seed, network, witness });
  const { world } = run;
  const random = new SeededRandom(seed).fork("changes");
  run.startAsOne();
  world.run(SETTLE_MS);
  const before = world.stats.messages;
  for (let change = 0; change < CHANGES; change++) {
    const by = below(random, nodes);
    author = world.idOf(by);
    knowing = 0;
    changedAt = world.now;
    world.command(by, { type: "update", profile: { name: `change ${change}` } });
    world.run(BETWEEN_MS);
    if (times.length <= change) times.push(Number.POSITIVE_INFINITY);
  }
  const sendsPerNode = (world.stats.messages - before) / nodes / CHANGES;
  return { times, sendsPerNode, simulatedMs: world.elapsedMs, digest: world.digest };
}

export const dissemination: Scenario = {
  name: "dissemination",
  summary: "a member changes its record: when do 99.99 % know?",
  nodes: 1_000,
  run(options) {
    const failures: string[] = [];
    const figures: Record<string, number | string> = {};
    const digests: string[] = [];
    let simulatedMs = 0;
    for (const { name, loss, mostMs } of CASES) {
      const spread = spreadChanges(options, loss);
      const slowestMs = Math.round(Math.max(...spread.times));
      figures[`${name}SlowestMs`] = slowestMs;
      figures[`${name}Ms`] = spread.times.map(Math.round).join(" ");
      // Probes and their answers included: they go on meanwhile.
      figures[`${name}MessagesPerChangeAndNode`] = Math.round(spread.sendsPerNode * 100) / 100;
      if (slowestMs > mostMs) failures.push(`${name}: a change was known to 99.99 % after ${slowestMs} ms only`);
      digests.push(spread.digest);
      simulatedMs += spread.simulatedMs;
    }
    return { simulatedMs, digest: digests.join("-"), failures, figures };
  },
};
