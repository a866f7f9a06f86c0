import { expect, test } from "vitest";
import { Kind } from "../../../src/proto/replication/messages.ts";
import { DEFAULT_POLICY, encodePolicy, POLICY_BUCKET } from "../../../src/proto/replication/policy.ts";
import { World } from "./world.ts";

const KEYS = 4_000;
const CHANGES = 40;

/** A node dies, its copies are replaced, `changes` keys are written anew, it comes back, and all is where it belongs again. */
function rejoin(seed: number, changes: number, hearsAfterMs?: number): World {
  const world = World.full(seed, 5, true);
  world.put(world.node(0), "app", encodePolicy({ ...DEFAULT_POLICY, replicas: 2 }), POLICY_BUCKET);
  world.run(3_000);
  const fill = (count: number, value: string): void => {
    for (let number = 0; number < count; number++) {
      world.put(world.node(0), `key ${number}`, `${value} ${number}`);
      if (number % 400 === 399) world.run(50);
    }
    world.run(5_000);
  };
  fill(KEYS, "value");
  const dead = world.node(2);
  world.crash(dead);
  world.declare(dead, true);
  world.run(15_000);
  fill(changes, "other");
  const others = world.nodes.filter((node) => node !== dead);
  if (hearsAfterMs !== undefined) world.strangers.set(dead.id, new Set(others.slice(1).map(({ id }) => id)));
  world.restart(dead);
  world.resetCounters();
  for (const other of others) world.link(dead, other);
  world.declare(dead, false);
  world.run(hearsAfterMs ?? 0);
  world.strangers.clear();
  world.declare(dead, false);
  world.run(30_000);
  return world;
}

/** How many nodes hold the value that each key is to have; each number once. */
function copies(world: World, expected: (number: number) => string): Set<number> {
  const held = Array.from({ length: KEYS }, (_, number) => {
    const found = world.nodes.map(({ replication }) => replication.get("app", `key ${number}`)?.value);
    return found.filter((value) => value && new TextDecoder().decode(value) === expected(number)).length;
  });
  return new Set(held);
}

test("a node that comes back to what it had is asked for no key, however many it holds", () => {
  const world = rejoin(1, 0);
  expect(copies(world, (number) => `value ${number}`)).toEqual(new Set([2]));
  expect(world.kinds.get(Kind.hold)).toBeUndefined();
  expect(world.bytes).toBeLessThan(4_000);
  expect(world.faults()).toEqual([]);
});

test.each([100, 300, 1_000])(
  "a node that hears of the others %i ms after it has links with them compares nothing in vain meanwhile",
  (ms) => {
    const world = rejoin(1, 0, ms);
    expect(copies(world, (number) => `value ${number}`)).toEqual(new Set([2]));
    expect(world.bytes).toBeLessThan(3_999);
    expect(world.faults()).toEqual([]);
  },
);

test("a node that comes back is asked for no more keys than have changed, by each that brings it something", () => {
  const world = rejoin(2, CHANGES);
  expect(copies(world, (number) => `${number < CHANGES ? "other" : "value"} ${number}`)).toEqual(new Set([2]));
  const bytesPerKey = 90;
  expect(world.kinds.get(Kind.hold) ?? 0).toBeLessThan((CHANGES * bytesPerKey) / 4);
  expect(world.bytes).toBeLessThan(450 * CHANGES);
  expect(world.faults()).toEqual([]);
});

test("replicas of many keys do not tell what else they hold when a few are brought to them", () => {
  const world = World.full(3, 5, true);
  world.put(world.node(0), "app", encodePolicy({ ...DEFAULT_POLICY, replicas: 2 }), POLICY_BUCKET);
  world.run(3_000);
  for (let number = 0; number < KEYS; number++) {
    world.put(world.node(0), `key ${number}`, `value ${number}`);
    if (number % 50 === 49) world.run(20);
  }
  world.run(5_000);
  expect(copies(world, (number) => `value ${number}`)).toEqual(new Set([2]));
  const surveys = (world.kinds.get(Kind.survey) ?? 0) + (world.kinds.get(Kind.surveyed) ?? 0);
  expect(surveys).toBeGreaterThan(0);
  expect(surveys).toBeLessThan((world.kinds.get(Kind.hold) ?? 0) / 2);
});
