import { expect, test } from "vitest";
import { bootstrap } from "./scenarios/bootstrap.ts";
import { detection } from "./scenarios/detection.ts";
import { dissemination } from "./scenarios/dissemination.ts";
import { endure } from "./scenarios/false-deaths.ts";
import { halfDeaths } from "./scenarios/half-deaths.ts";

test("eighty members that start at once know each other within 15 s, at a few requests to the server each", () => {
  expect(bootstrap.run({ nodes: 80, seed: 1 }).failures).toEqual([]);
}, 120_000);

test("a crash among 150 is known to half of the survivors within 3 s and to 99 % within 6 s, and nobody else is accused in vain", () => {
  expect(detection.run({ nodes: 150, seed: 1 }).failures).toEqual([]);
}, 120_000);

test("a changed record is known to 150 within 1 s, and within 3 s where a tenth of all packets are lost", () => {
  expect(dissemination.run({ nodes: 150, seed: 1 }).failures).toEqual([]);
}, 120_000);

test("thirty of sixty members die in the middle of broadcasts, and the others miss nothing and agree who is left", () => {
  expect(halfDeaths.run({ nodes: 60, seed: 1 }).failures).toEqual([]);
}, 120_000);

test("100 members that lose 5 % of their packets for ten minutes hardly suspect each other and never declare anybody down", () => {
  const { falseDeaths, suspicions } = endure({ nodes: 100, seed: 1 }, 0.05, 600_000);
  expect(falseDeaths).toBe(0);
  // Of probes in doubt that are not repeated come more than a thousand.
  expect(suspicions / 100).toBeLessThan(10);
}, 120_000);
