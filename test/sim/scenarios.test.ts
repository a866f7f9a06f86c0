import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SeededRandom } from "../../src/proto/random.ts";
import vectors from "../vectors/seeds.json" with { type: "json" };
import { FORGED } from "./broadcast-node.ts";
import { BroadcastWorld } from "./broadcast-world.ts";
import { broadcastSwarm } from "./scenarios/broadcast-swarm.ts";
import { broadcastTree } from "./scenarios/broadcast-tree.ts";
import { scenarios } from "./scenarios/index.ts";
import { ringNeighbours } from "./topology.ts";

/** How many seeds beyond the kept ones each run of the tests adds. */
const FRESH_SEEDS = 10;

test.each(vectors)("$scenario with $nodes nodes and seed $seed holds ($why)", ({ scenario, nodes, seed }) => {
  const outcome = scenarios.find(({ name }) => name === scenario)?.run({ nodes, seed });
  expect(outcome?.failures).toEqual([]);
});

test("broadcasts reach everybody once under the faults of the first seeds, each of which repeats exactly", () => {
  for (let seed = 1; seed <= FRESH_SEEDS; seed++) {
    const { failures, digest } = broadcastSwarm.run({ nodes: 30, seed });
    expect(failures, `npm run sim -- --scenario broadcast-swarm --nodes 30 --seed ${seed}`).toEqual([]);
    if (seed === 1) expect(broadcastSwarm.run({ nodes: 30, seed }).digest).toBe(digest);
  }
});

test("200 members on a random graph of degree 8 hardly get a payload twice, and hardly later than by flooding", () => {
  const { failures, figures } = broadcastTree.run({ nodes: 200, seed: 1 });
  process.stdout.write(`${JSON.stringify(figures)}\n`);
  expect(failures).toEqual([]);
});

test.each([2, 5, 9, 17])("a full mesh of %i members becomes a star: one copy for each", (nodes) => {
  const world = new BroadcastWorld({ nodes, seed: nodes, rings: 8 });
  expect(world.neighbours.every((others) => others.length === nodes - 1)).toBe(true);
  world.startLinked();
  world.world.run(1_000);
  for (let round = 0; round < 3; round++) expect(world.measure(0).missed).toBe(0);
  for (let round = 0; round < 3; round++) {
    expect(world.measure(0)).toMatchObject({ redundancy: 0, missed: 0, hops: nodes === 2 ? 1 : expect.any(Number) });
  }
  for (let by = 1; by < nodes; by++) expect(world.measure(by).redundancy).toBeLessThanOrEqual(0.25);
});

test("forged content ends at the first honest member, and its sender is blamed", () => {
  const world = new BroadcastWorld({ nodes: 20, seed: 3 });
  world.startLinked();
  world.world.run(1_000);
  // The author believes in it: it is honest to its own machine, and its neighbours are the first to check.
  world.world.command(0, { type: "publish", topic: 2, payload: Uint8Array.of(FORGED, 1) });
  world.world.run(5_000);
  expect(world.faults).toEqual(new Map([["rejected", world.neighbours[0]?.length]]));
});

test("ring neighbours make a connected graph of degree 8, and a full mesh of few", () => {
  const graph = ringNeighbours(300, 4, new SeededRandom(1));
  const degrees = graph.map((others) => others.length);
  expect(Math.max(...degrees)).toBe(8);
  expect(Math.min(...degrees)).toBeGreaterThanOrEqual(6);
  const reached = new Set([0]);
  for (const node of reached) for (const other of graph[node] ?? []) reached.add(other);
  expect(reached.size).toBe(300);
  expect(ringNeighbours(9, 4, new SeededRandom(1)).map((others) => others.length)).toEqual(Array(9).fill(8));
});

test("the command prints one object and exits 0, or 2 when it is misused", () => {
  const command = (...options: string[]) =>
    execFileSync(process.execPath, [join(import.meta.dirname, "main.ts"), ...options], {
      encoding: "utf8",
      stdio: "pipe",
    });
  const report = JSON.parse(command("--scenario", "pulse", "--nodes", "10", "--seed", "7", "--json"));
  expect(report).toMatchObject({ scenario: "pulse", nodes: 10, seed: 7, simulatedMs: 300_000, ok: true, failures: [] });
  expect(report.digest).toMatch(/^[0-9a-f]{16}$/);
  expect(command("--list")).toContain("broadcast-swarm (50 nodes)");
  expect(() => command("--scenario", "nothing")).toThrow(expect.objectContaining({ status: 2 }));
  expect(() => command("--nodes", "many", "--scenario", "pulse")).toThrow(expect.objectContaining({ status: 2 }));
});
