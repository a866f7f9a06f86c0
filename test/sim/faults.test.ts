import fc from "fast-check";
import { expect, test } from "vitest";
import { SeededRandom } from "../../src/proto/random.ts";
import { drawSchedule, type FaultKind, plan } from "./faults.ts";
import { PulseNode } from "./pulse-node.ts";
import { World } from "./world.ts";

const options = { nodes: 20, forMs: 60_000, longestMs: 8_000 };

test("a seed gives one schedule, and different seeds different mixes", () => {
  const draw = (seed: number) => drawSchedule(new SeededRandom(seed), options);
  expect(draw(1)).toEqual(draw(1));
  const mixes = new Set(Array.from({ length: 50 }, (_, seed) => draw(seed).kinds.join()));
  expect(mixes.size).toBeGreaterThan(40);
});

test("faults come in order, and at the end everything works again but for the dead", () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const { kinds, faults } = drawSchedule(new SeededRandom(seed), options);
      expect(faults.map(({ atMs }) => atMs)).toEqual(faults.map(({ atMs }) => atMs).sort((a, b) => a - b));
      expect(faults.at(-1)?.atMs).toBe(options.forMs);
      const world = new World({ nodes: options.nodes, seed, create: (context) => new PulseNode(context) });
      for (let index = 0; index < world.size; index++) world.start(index);
      plan(world, { kinds, faults });
      world.run(options.forMs);
      const states = Array.from({ length: world.size }, (_, index) => world.stateOf(index));
      const dead = states.filter((state) => state !== "running").length;
      if (!kinds.includes("crash")) expect(dead).toBe(0);
      else expect(dead).toBeLessThanOrEqual(4);
      for (let a = 0; a < world.size; a++) {
        expect(world.network.reaches(a, (a + 1) % world.size)).toBe(true);
        expect(world.network.lossBetween(a, (a + 1) % world.size)).toBe(0);
      }
      expect(world.signaling.server.up).toBe(true);
      expect(world.dialFailure).toBe(0);
    }),
    { numRuns: 100 },
  );
});

test("only the kinds that are asked for happen", () => {
  const kinds: readonly FaultKind[] = ["loss", "freeze"];
  for (let seed = 0; seed < 20; seed++) {
    const schedule = drawSchedule(new SeededRandom(seed), { ...options, kinds });
    for (const { fault } of schedule.faults) expect(["loss", "freeze", "thaw", "heal"]).toContain(fault.type);
  }
});
