/**
 * Goal: a replica that was away for longer than deletions are remembered brings none of them back, loses nothing that was written in
 * its absence, and says so; an outage of everybody is no absence. Method: whole replicas with disks in virtual time.
 */
import { expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import type { ReplicationOutput } from "../../../src/proto/replication/effects.ts";
import { DEFAULT_POLICY, encodePolicy, POLICY_BUCKET } from "../../../src/proto/replication/policy.ts";
import { type Node, World } from "./world.ts";

const HOUR_MS = 3_600_000;
/** Twice what deletions are remembered for. */
const LONG_MS = 48 * HOUR_MS;

function value(node: Node, key: string, bucket = "app"): string | undefined {
  const found = node.replication.get(bucket, key)?.value;
  return found ? new TextDecoder().decode(found) : undefined;
}

function said<T extends ReplicationOutput["type"]>(
  node: Node,
  type: T,
): Extract<ReplicationOutput, { readonly type: T }>[] {
  return node.outputs.filter((output) => output.type === type) as Extract<ReplicationOutput, { readonly type: T }>[];
}

function linkAll(world: World): void {
  for (const a of world.nodes) for (const b of world.nodes) if (a.id < b.id && a.isUp && b.isUp) world.link(a, b);
}

/** Three durable nodes, in step, that hold `kept` and `gone`. */
function three(seed: number): World {
  const world = World.full(seed, 3, true);
  world.put(world.node(0), "kept", "1");
  world.put(world.node(0), "gone", "1");
  world.run(60_000);
  expect(world.isEqual()).toBe(true);
  return world;
}

test("a node away longer than deletions are remembered brings none back, and says what it has parted with", () => {
  const world = three(1);
  const away = world.node(2);
  world.crash(away);
  world.run(1_000);
  world.delete(world.node(0), "gone");
  world.put(world.node(0), "later", "1");
  world.run(LONG_MS);
  expect(world.node(0).replication.buckets()).toMatchObject([{ keys: 2 }]);
  away.outputs.length = 0;
  world.restart(away);
  expect(away.replication.standing.isAway).toBe(true);
  expect(value(away, "gone")).toBe("1");
  linkAll(world);
  expect(world.settle(10_000)).toBeDefined();
  for (const node of world.nodes) expect([value(node, "gone"), value(node, "later")]).toEqual([undefined, "1"]);
  expect(said(away, "followed")).toMatchObject([{ removed: 1, setAside: 0 }]);
  expect(away.replication.standing).toMatchObject({ isAway: false, gapFrom: undefined });
  expect(world.faults()).toEqual([]);
  world.crash(away);
  world.restart(away);
  expect(value(away, "gone")).toBeUndefined();
  expect(away.replication.standing.isAway).toBe(false);
}, 60_000);

test("a node that was cut off, and ran on, does the same; what it has written lately spreads, the rest is set aside", () => {
  const world = three(2);
  const away = world.node(2);
  for (const other of world.nodes) if (other !== away) world.unlink(away, other);
  world.run(HOUR_MS);
  world.delete(world.node(0), "gone");
  world.put(away, "old of mine", "2", "app", 1);
  world.run(LONG_MS);
  world.put(away, "new of mine", "3", "app", 1);
  world.run(1_000);
  linkAll(world);
  expect(world.settle(10_000)).toBeDefined();
  for (const node of world.nodes) {
    expect([value(node, "gone"), value(node, "old of mine"), value(node, "new of mine")]).toEqual([
      undefined,
      undefined,
      "3",
    ]);
  }
  expect(said(away, "followed")).toMatchObject([{ removed: 2, setAside: 1 }]);
  const [aside] = away.replication.setAside();
  expect(aside).toMatchObject({ bucket: "app", entry: { key: "old of mine", value: utf8("2") } });
  world.crash(away);
  world.restart(away);
  expect(away.replication.setAside()).toHaveLength(1);
  world.put(away, "old of mine", "2", "app", 1);
  world.run(100);
  expect(away.replication.setAside()).toEqual([]);
  expect(world.faults()).toEqual([]);
}, 60_000);

test("after an outage of everybody longer than that, nothing is lost, and no deletion comes back", () => {
  const world = three(3);
  const missed = world.node(2);
  world.crash(missed);
  world.run(1_000);
  world.delete(world.node(0), "gone");
  world.put(world.node(1), "later", "1");
  world.run(1_000);
  for (const node of world.nodes) world.crash(node);
  world.run(LONG_MS);
  for (const node of world.nodes) {
    node.outputs.length = 0;
    world.restart(node);
  }
  linkAll(world);
  expect(world.settle(120_000)).toBeDefined();
  for (const node of world.nodes) {
    expect([value(node, "kept"), value(node, "gone"), value(node, "later")]).toEqual(["1", undefined, "1"]);
    expect(said(node, "resumed")).toHaveLength(1);
    expect(said(node, "followed")).toEqual([]);
  }
  // Once it has been remembered for its time, the deletion is forgotten everywhere.
  world.run(25 * HOUR_MS);
  expect(world.isEqual()).toBe(true);
  expect(world.node(0).replication.standing.gapFrom).toBeUndefined();
  expect(world.faults()).toEqual([]);
}, 60_000);

test("those who have taken it that all were away still follow one who was not", () => {
  const world = three(4);
  const [witness, second, third] = world.nodes as [Node, Node, Node];
  const fourth = world.add(3);
  world.link(fourth, witness);
  world.run(60_000);
  world.crash(second);
  world.crash(third);
  world.run(1_000);
  world.delete(witness, "gone");
  world.run(LONG_MS);
  for (const node of [second, third]) world.restart(node);
  world.link(second, third);
  world.run(180_000);
  expect(said(second, "resumed")).toHaveLength(1);
  expect(value(second, "gone")).toBe("1");
  linkAll(world);
  expect(world.settle(30_000)).toBeDefined();
  for (const node of world.nodes) expect([value(node, "kept"), value(node, "gone")]).toEqual(["1", undefined]);
  expect(world.faults()).toEqual([]);
}, 60_000);

test("nobody follows newcomers: they were not there", () => {
  const world = World.full(5, 1, true);
  const veteran = world.node(0);
  world.put(veteran, "kept", "1");
  world.run(1_000);
  world.crash(veteran);
  world.run(LONG_MS);
  const [first, second] = [world.add(1), world.add(2)];
  world.link(first, second);
  world.run(60_000);
  world.restart(veteran);
  linkAll(world);
  expect(world.settle(180_000)).toBeDefined();
  for (const node of world.nodes) expect(value(node, "kept")).toBe("1");
  expect(said(veteran, "followed")).toEqual([]);
});

test("of a bucket with a fixed number of copies nothing deleted comes back either, and its copies are there again", () => {
  const world = World.full(6, 4, true);
  world.put(world.node(0), "two", encodePolicy({ ...DEFAULT_POLICY, replicas: 2 }), POLICY_BUCKET);
  world.run(3_000);
  for (let index = 0; index < 60; index++) world.put(world.node(index % 4), `k${index}`, "1", "two");
  world.run(60_000);
  const away = world.node(3);
  world.crash(away);
  world.declare(away, true);
  world.run(10_000);
  for (let index = 0; index < 30; index++) world.delete(world.node(0), `k${index}`, "two");
  world.run(LONG_MS);
  world.restart(away);
  world.declare(away, false);
  linkAll(world);
  world.run(120_000);
  const copies = new Map<string, number>();
  for (const { replication } of world.nodes) {
    for (const { key } of replication.list("two", { limit: 1_000 }).entries)
      copies.set(key, (copies.get(key) ?? 0) + 1);
  }
  const expected = Array.from({ length: 30 }, (_, index) => [`k${index + 30}`, 2] as const);
  expect([...copies].sort()).toEqual([...expected].sort());
  expect(said(away, "followed")).toHaveLength(1);
}, 60_000);
