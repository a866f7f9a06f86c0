/**
 * Goal: replicas that have been told different things become equal, at a cost that follows the difference, under loss, partitions and
 * many links at once. Method: whole replicas in virtual time, over lanes that are reliable and broadcasts that are not.
 */
import { expect, test } from "vitest";
import { below } from "../../../src/proto/random.ts";
import { Kind } from "../../../src/proto/replication/messages.ts";
import { World } from "./world.ts";

/** Two halves of two nodes each, joined by one link between node 1 and node 2 when `join` is called. */
function halves(seed: number): { readonly world: World; readonly join: () => void; readonly part: () => void } {
  const world = new World(seed);
  for (let number = 0; number < 4; number++) world.add(number);
  world.link(world.node(0), world.node(1));
  world.link(world.node(2), world.node(3));
  return {
    world,
    join: () => world.link(world.node(1), world.node(2)),
    part: () => world.unlink(world.node(1), world.node(2)),
  };
}

test("writes at every member reach every member and are acknowledged", () => {
  const world = World.full(1, 6);
  const requests = Array.from({ length: 300 }, (_, index) =>
    world.put(world.node(index % 6), `k${index % 97}`, `v${index}`),
  );
  world.run(1_000);
  expect(world.isEqual()).toBe(true);
  const outputs = world.nodes.flatMap(({ outputs: all }) => all);
  const acknowledged = outputs.flatMap((output) => (output.type === "acknowledged" ? [output.request] : []));
  expect(acknowledged.sort((a, b) => a - b)).toEqual(requests);
  expect(world.faults()).toEqual([]);
});

test("every watcher sees the versions of a key in rising order, and the winner last", () => {
  const world = World.full(2, 4);
  world.loss = 0.3;
  for (let step = 0; step < 200; step++) {
    world.put(world.node(step % 4), `k${step % 5}`, `v${step}`);
    if (step % 7 === 0) world.delete(world.node((step + 1) % 4), `k${step % 5}`);
    world.run(below(world.random, 40));
  }
  expect(world.settle(120_000)).toBeDefined();
  for (const { replication, outputs } of world.nodes) {
    const last = new Map<string, { readonly clock: number; readonly version: string }>();
    let cursor = 0;
    for (const output of outputs) {
      if (output.type !== "changed") continue;
      expect(output.cursor).toBeGreaterThan(cursor);
      if (cursor > 0) expect(output.cursor).toBe(cursor + 1);
      cursor = output.cursor;
      expect(output.entry.clock).toBeGreaterThanOrEqual(last.get(output.key)?.clock ?? 0);
      last.set(output.key, output.entry);
    }
    for (const [key, { version }] of last) {
      const present = replication.get("app", key);
      if (present !== undefined) expect(present.version).toBe(version);
    }
  }
});

test("what broadcast loses, anti-entropy brings within a few exchanges", () => {
  const world = World.full(3, 8);
  world.loss = 0.5;
  for (let index = 0; index < 200; index++) {
    world.put(world.node(index % 8), `k${index}`, `value ${index}`, "app", 1);
    if (index % 10 === 0) world.run(50);
  }
  world.loss = 1;
  for (let index = 0; index < 20; index++) world.put(world.node(index % 8), `late${index}`, "x", "app", 1);
  expect(world.settle(90_000)).toBeDefined();
  expect(world.faults()).toEqual([]);
});

test("after a partition heals, the cost follows the difference and not the size", () => {
  const figures: {
    readonly keys: number;
    readonly differences: number;
    readonly bytes: number;
    readonly ms: number;
  }[] = [];
  for (const [keys, differences] of [
    [2_000, 20],
    [2_000, 200],
    [20_000, 20],
    [20_000, 200],
  ] as const) {
    const { world, join, part } = halves(keys + differences);
    join();
    for (let index = 0; index < keys; index++) {
      world.put(world.node(0), `key ${index}`, `value ${index}`, "app", 1);
      if (index % 512 === 511) world.run(20);
    }
    world.run(200);
    expect(world.isEqual()).toBe(true);
    part();
    for (let index = 0; index < differences; index++) {
      world.put(world.node(index % 2 === 0 ? 0 : 3), `key ${(index * 7_919) % keys}`, `new ${index}`, "app", 1);
    }
    world.run(20_000);
    expect(world.isEqual()).toBe(false);
    world.resetCounters();
    join();
    const ms = world.settle(60_000, 10) ?? Number.POSITIVE_INFINITY;
    figures.push({ keys, differences, bytes: world.bytes, ms });
    expect(world.faults()).toEqual([]);
  }
  console.log("healing, bytes over all three links:", JSON.stringify(figures));
  for (const { differences, bytes, ms } of figures) {
    expect(ms).toBeLessThan(4_000);
    expect(bytes).toBeLessThan(10_000 + differences * 600);
  }
}, 60_000);

test("equal replicas spend less than 64 bytes on each comparison", () => {
  const world = World.full(5, 5);
  for (let index = 0; index < 500; index++) world.put(world.node(index % 5), `k${index}`, "x");
  world.run(5_000);
  world.resetCounters();
  world.run(600_000);
  expect(world.messages).toBeGreaterThan(5 * 2 * 15);
  expect(world.bytes / (world.messages / 2)).toBeLessThan(64);
});

test("a newcomer with many links is told of everything about once", () => {
  const world = World.full(6, 12);
  for (let index = 0; index < 3_000; index++) world.put(world.node(index % 12), `k${index}`, "x".repeat(100), "app", 1);
  world.run(10_000);
  const newcomer = world.add(99);
  world.resetCounters();
  for (const node of world.nodes) if (node !== newcomer) world.link(node, newcomer);
  const ms = world.settle(30_000, 10);
  const content = newcomer.replication.buckets()[0]?.bytes ?? 0;
  console.log(`a newcomer with 12 links: ${world.bytes} bytes for ${content} of content in ${ms} ms`);
  expect(world.bytes).toBeLessThan(2.2 * content);
  world.run(10_000);
  expect(world.bytes).toBeLessThan(2.3 * content);
  expect(world.kinds.get(Kind.reconcile)).toBeLessThan(1.5 * 3_000 * 16);
  expect(world.faults()).toEqual([]);
});

test("large values travel hop by hop, each link once, and are acknowledged", () => {
  const world = new World(7);
  for (let number = 0; number < 5; number++) world.add(number);
  for (let hop = 0; hop < 4; hop++) world.link(world.node(hop), world.node(hop + 1));
  const value = new Uint8Array(1_500_000).map((_, index) => (index * 31) >> 3);
  const request = world.put(world.node(0), "big", value, "app", 2);
  const ms = world.settle(60_000, 10);
  expect(ms).toBeLessThan(5_000);
  expect(world.node(4).replication.get("app", "big")?.value).toEqual(value);
  expect(world.bytes).toBeLessThan(4 * value.length * 1.02);
  world.run(1_000);
  expect(world.node(0).outputs).toContainEqual(expect.objectContaining({ type: "acknowledged", request, replicas: 2 }));
  expect(world.faults()).toEqual([]);
});

test("a large value that is replaced while it is on its way counts as held by those who have the later one", () => {
  const world = World.full(7, 2);
  const request = world.put(world.node(0), "big", new Uint8Array(8_000_000), "app", 2);
  world.run(90);
  world.put(world.node(0), "big", "later", "app", 2);
  world.run(1_000);
  expect(world.node(0).outputs).toContainEqual(expect.objectContaining({ type: "acknowledged", request, replicas: 2 }));
  expect(world.node(1).replication.get("app", "big")?.value).toHaveLength(5);
});

test("a large value goes on from another member when its source is lost half way", () => {
  const world = World.full(8, 3);
  const value = new Uint8Array(8_000_000).map((_, index) => index % 251);
  world.put(world.node(0), "big", value, "app", 1);
  world.run(90);
  world.unlink(world.node(0), world.node(1));
  world.resetCounters();
  expect(world.settle(60_000, 10)).toBeDefined();
  expect(world.node(1).replication.get("app", "big")?.value).toEqual(value);
  expect(world.bytes).toBeLessThan(2.1 * value.length);
});

test("entries of an author who has renewed its token, or has gone, are proven to newcomers by those who have them", () => {
  const world = World.full(9, 3);
  for (let index = 0; index < 200; index++) world.put(world.node(index % 3), `k${index}`, "x", "app", 1);
  world.run(1_000);
  world.recordsKnown = false;
  const newcomer = world.add(99);
  world.link(world.node(0), newcomer);
  expect(world.settle(30_000)).toBeDefined();
  expect(newcomer.replication.buckets()[0]?.keys).toBe(200);
  const second = world.add(100);
  world.link(newcomer, second);
  expect(world.settle(30_000)).toBeDefined();
  expect(world.faults()).toEqual([]);
});

test("members whose clocks disagree by less than a minute converge, and the later write wins by the authors' clocks", () => {
  const world = World.full(10, 4);
  world.node(0).skewMs = 25_000;
  world.node(3).skewMs = -25_000;
  // A clock that is set back stands still until the time has caught up.
  world.run(30_000);
  for (let index = 0; index < 100; index++) world.put(world.node(index % 4), `k${index % 10}`, `v${index}`, "app", 1);
  expect(world.settle(120_000)).toBeDefined();
  world.put(world.node(3), "k0", "last", "app", 1);
  world.run(100);
  expect(world.settle(120_000)).toBeDefined();
  expect(world.node(0).replication.get("app", "k0")?.value).toEqual(new TextEncoder().encode("last"));
});

test("deletions spread, and leave every replica's digest when their retention is over", () => {
  const world = World.full(11, 3);
  for (let index = 0; index < 50; index++) world.put(world.node(0), `k${index}`, "x", "app", 1);
  world.run(1_000);
  for (let index = 0; index < 50; index++) world.delete(world.node(index % 3), `k${index}`);
  world.run(1_000);
  expect(world.node(2).replication.buckets()).toMatchObject([{ keys: 0 }]);
  world.run(86_400_000 + 120_000);
  expect(world.nodes.map(({ replication }) => replication.buckets())).toEqual([[], [], []]);
}, 60_000);

test("two runs of a seed are equal to the last byte", () => {
  const run = (): string => {
    const world = World.full(12, 5);
    world.loss = 0.4;
    for (let index = 0; index < 100; index++) {
      world.put(world.node(index % 5), `k${index % 30}`, `v${index}`);
      world.run(below(world.random, 100));
    }
    world.run(60_000);
    return JSON.stringify([world.node(0).replication.buckets(), world.bytes, world.messages, world.broadcastBytes]);
  };
  expect(run()).toBe(run());
});
