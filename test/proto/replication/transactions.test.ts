import { expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { DEFAULT_QUOTAS } from "../../../src/proto/replication/limits.ts";
import { type Node, World } from "./world.ts";

type Writes = readonly { readonly key: string; readonly value: Uint8Array | null }[];

function values(prefix: string, count: number): Writes {
  return Array.from({ length: count }, (_, number) => ({ key: `${prefix} ${number}`, value: utf8(`${prefix}`) }));
}

function transact(world: World, node: Node, writes: Writes, request = 1): void {
  world.input(node, { type: "transaction", request, bucket: "app", writes });
}

function keys(node: Node): number {
  return node.replication.buckets()[0]?.keys ?? 0;
}

function answers(node: Node): string[] {
  return node.outputs.flatMap((output) => {
    if (output.type === "refused") return [output.reason];
    return output.type === "acknowledged" || output.type === "unacknowledged" ? [output.type] : [];
  });
}

/** Every number of keys that the node is ever seen with while `ms` pass. */
function seen(world: World, node: Node, ms: number): number[] {
  const counts = new Set<number>();
  for (let left = ms; left > 0; left--) {
    world.run(1);
    counts.add(keys(node));
  }
  return [...counts];
}

test("a transaction arrives as a whole by broadcast and is acknowledged as one write", () => {
  const world = World.full(1, 2, true);
  world.run(1_000);
  transact(world, world.node(0), values("a", 64));
  expect(seen(world, world.node(1), 200)).toEqual([0, 64]);
  expect(answers(world.node(0))).toEqual(["acknowledged"]);
});

test("a transaction arrives as a whole by anti-entropy too, among a thousand other entries", () => {
  const world = World.full(2, 2);
  const [author, other] = [world.node(0), world.node(1)];
  world.unlink(author, other);
  for (let number = 0; number < 500; number++) world.put(author, `plain ${number}`, new Uint8Array(1_500).fill(number));
  for (let round = 0; round < 10; round++) transact(world, author, values(`t${round}`, 60), round);
  world.run(1_000);
  // Entries of one that were replaced since are not missed.
  world.put(author, "t3 7", "later");
  world.run(1_000);
  world.link(author, other);
  for (let left = 5_000; left > 0 && !world.isEqual(); left--) {
    world.run(1);
    for (let round = 0; round < 10; round++) {
      const there = values(`t${round}`, 60).filter(({ key }) => other.replication.get("app", key) !== undefined);
      // The later write of one key may come before the others.
      expect([0, 60, ...(round === 3 ? [1, 59] : [])]).toContain(there.length);
    }
  }
  expect(world.isEqual()).toBe(true);
  expect(world.faults()).toEqual([]);
});

test("a transaction deletes and writes at once", () => {
  const world = World.full(3, 2);
  world.put(world.node(0), "from", "x");
  world.run(1_000);
  transact(world, world.node(1), [
    { key: "from", value: null },
    { key: "to", value: utf8("x") },
  ]);
  world.run(1_000);
  for (const node of world.nodes) {
    expect(node.replication.get("app", "from")).toBeUndefined();
    expect(node.replication.get("app", "to")?.value).toEqual(utf8("x"));
  }
});

test("what is too large, has a key twice, or does not fit as a whole changes nothing", () => {
  const world = new World(4);
  const node = world.add(0, { quotas: { ...DEFAULT_QUOTAS, entriesPerBucket: 10 } });
  transact(world, node, values("a", 65));
  transact(world, node, []);
  transact(world, node, [{ key: "large", value: new Uint8Array(60_000) }]);
  transact(world, node, [...values("a", 1), ...values("a", 1)]);
  transact(world, node, values("a", 20));
  world.run(100);
  expect(answers(node)).toEqual(["too-large", "too-large", "too-large", "bad-key", "quota"]);
  expect(keys(node)).toBe(0);
});
