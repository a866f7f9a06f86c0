/**
 * Goal: a network that loses packets kills nobody.
 *
 * Method: everybody begins as a member of one mesh, and nothing happens but probes, of whose packets 5 % are lost: on links
 * that are reliable and ordered that shows as stalls of a second and more. An hour for up to 1,000 members, ten minutes for
 * more; then the same once more with 10 % for a sixth of that. Every member that runs and is declared down by anybody counts.
 */
import { Census } from "../census.ts";
import type { MeshEvent } from "../mesh-node.ts";
import { MeshRun } from "../mesh-run.ts";
import type { Scenario, ScenarioOptions } from "./scenario.ts";
import { costOf } from "./traffic.ts";

const FEW_NODES = 1_000;
const FEW_MS = 3_600_000;
const MANY_MS = 600_000;

/** A quiet mesh for `forMs` on a network that loses this share of its packets. */
export function endure({ nodes, seed }: ScenarioOptions, loss: number, forMs: number) {
  const census: Census = new Census(() => run);
  const witness = (index: number, event: MeshEvent): void => census.watch(index, event);
  const run = new MeshRun({ nodes, seed, network: { minLatencyMs: 10, maxLatencyMs: 50, loss }, witness });
  const { world } = run;
  run.startAsOne();
  const { traffic } = costOf(run, () => world.run(forMs));
  const dead = new Set(census.falseDeaths.map(({ of, at }) => `${of} ${Math.floor(at / 60_000)}`));
  return {
    /** Each member once a minute at most, by however many it is declared down. */
    falseDeaths: dead.size,
    deathsInLists: census.falseDeaths.length,
    suspicions: run.events.get("suspect") ?? 0,
    linksPerNode: [...Array(nodes).keys()].reduce((sum, index) => sum + world.linksOf(index), 0) / nodes,
    nodeSeconds: (nodes * forMs) / 1_000,
    traffic,
    digest: world.digest,
    simulatedMs: world.elapsedMs,
  };
}

export const falseDeaths: Scenario = {
  name: "false-deaths",
  summary: "a quiet mesh on a network that loses 5 % and 10 % of its packets: nobody is declared down",
  nodes: 1_000,
  run(options) {
    const forMs = options.nodes <= FEW_NODES ? FEW_MS : MANY_MS;
    const five = endure(options, 0.05, forMs);
    const ten = endure(options, 0.1, forMs / 6);
    const perMillion = (ten.falseDeaths * 1_000_000) / ten.nodeSeconds;
    const failures: string[] = [];
    if (five.falseDeaths > 0) failures.push(`${five.falseDeaths} false deaths at 5 % loss`);
    if (perMillion > 1) failures.push(`${perMillion} false deaths per million node-seconds at 10 % loss`);
    const figures: Record<string, number> = { falseDeathsPerMillionAtTen: Math.round(perMillion * 1_000) / 1_000 };
    for (const [name, { traffic, ...outcome }] of [
      ["five", five],
      ["ten", ten],
    ] as const) {
      figures[`${name}FalseDeaths`] = outcome.falseDeaths;
      figures[`${name}DeathsInLists`] = outcome.deathsInLists;
      figures[`${name}Suspicions`] = outcome.suspicions;
      figures[`${name}LinksPerNode`] = Math.round(outcome.linksPerNode * 10) / 10;
      figures[`${name}MessagesPerNodeSecond`] = traffic.messagesPerNodeSecond;
      figures[`${name}BytesPerNodeSecond`] = traffic.bytesPerNodeSecond;
    }
    return {
      simulatedMs: five.simulatedMs + ten.simulatedMs,
      digest: `${five.digest}-${ten.digest}`,
      failures,
      figures,
    };
  },
};
