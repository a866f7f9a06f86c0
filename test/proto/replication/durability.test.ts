import { expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { Space, type StoredRow } from "../../../src/proto/replication/rows.ts";
import { type Node, World } from "./world.ts";

function disk(node: Node): Map<string, StoredRow> {
  return node.medium.get("rows") as Map<string, StoredRow>;
}

function names(node: Node, type: string): string[] {
  return node.outputs.filter((output) => output.type === type).map(({ type }) => type);
}

function text(node: Node, key: string, bucket = "app"): string | undefined {
  const value = node.replication.get(bucket, key)?.value;
  return value ? new TextDecoder().decode(value) : undefined;
}

function linkAll(world: World): void {
  for (const a of world.nodes) for (const b of world.nodes) if (a.id < b.id) world.link(a, b);
}

test("a write leaves its author, and is acknowledged by another, only when it is on their disks", () => {
  const world = World.full(1, 2, true);
  const [author, other] = [world.node(0), world.node(1)];
  world.run(1_000);
  world.put(author, "a", "1", "app", 2);
  world.run(1);
  expect(names(author, "store")).toHaveLength(1);
  expect(names(author, "broadcast")).toEqual([]);
  expect(names(author, "changed")).toEqual([]);
  expect(text(author, "a")).toBe("1");
  world.run(2);
  expect(names(author, "broadcast")).toHaveLength(1);
  expect(names(author, "changed")).toHaveLength(1);
  expect(names(author, "acknowledged")).toEqual([]);
  while (names(other, "store").length === 0) world.run(1);
  const sent = other.outputs.length;
  world.run(2);
  expect(other.outputs.slice(sent).filter(({ type }) => type === "send")).toEqual([]);
  world.run(1);
  expect(other.outputs.slice(sent).filter(({ type }) => type === "send")).toHaveLength(1);
  world.run(100);
  expect(names(author, "acknowledged")).toHaveLength(1);
});

test("what a crash finds unwritten is gone, and nobody was told of it", () => {
  const world = World.full(2, 2, true);
  const author = world.node(0);
  world.run(1_000);
  world.put(author, "a", "1");
  world.run(2);
  world.crash(author);
  world.restart(author);
  linkAll(world);
  world.run(60_000);
  for (const node of world.nodes) expect(node.replication.get("app", "a")).toBeUndefined();
});

test("a cluster that is stopped as a whole has its values, deletions and proofs again", () => {
  const world = World.full(3, 3, true);
  for (let number = 0; number < 40; number++) world.put(world.node(number % 3), `key ${number}`, `value ${number}`);
  world.put(world.node(1), "large", new Uint8Array(100_000).fill(7));
  world.run(3_000);
  world.delete(world.node(2), "key 7");
  world.run(3_000);
  const before = world.nodes.map((node) => JSON.stringify(node.replication.buckets()));
  for (const node of world.nodes) world.crash(node);
  for (const node of world.nodes) world.restart(node);
  expect(world.nodes.map((node) => JSON.stringify(node.replication.buckets()))).toEqual(before);
  expect(text(world.node(0), "key 8")).toBe("value 8");
  expect(world.node(1).replication.get("app", "key 7")).toBeUndefined();
  // A newcomer is given everything with proofs, although no author's record is known any more.
  world.recordsKnown = false;
  world.add(9);
  linkAll(world);
  expect(world.settle(20_000)).toBeDefined();
  expect(world.node(3).replication.get("app", "large")?.value?.length).toBe(100_000);
  expect(world.faults()).toEqual([]);
});

test("the entries of one batch are on a disk together, or none of them is", () => {
  const world = World.full(4, 2, true);
  world.run(1_000);
  for (let number = 0; number < 30; number++) world.put(world.node(0), `key ${number}`, "x");
  const seen = new Set<number>();
  for (let left = 200; left > 0; left--) {
    world.run(1);
    for (const node of world.nodes)
      seen.add([...disk(node).values()].filter(({ space }) => space === Space.entry).length);
  }
  expect([...seen]).toEqual([0, 30]);
});

test("a clock that was set back while its agent was down gives no earlier reading", () => {
  const world = World.full(5, 2, true);
  const author = world.node(0);
  world.put(author, "a", "1");
  world.run(1_000);
  world.crash(author);
  author.skewMs = -50_000;
  world.restart(author);
  world.put(author, "a", "2");
  world.run(1_000);
  expect(text(author, "a")).toBe("2");
  linkAll(world);
  world.run(5_000);
  expect(text(world.node(1), "a")).toBe("2");
});

test("a watcher goes on from its cursor across a crash, without a gap and without a change twice", () => {
  const world = World.full(6, 2, true);
  const [node, other] = [world.node(0), world.node(1)];
  world.put(node, "a", "1");
  world.put(node, "b", "1");
  world.run(1_000);
  const { cursor } = node.replication;
  world.put(node, "b", "2");
  world.run(1_000);
  world.crash(node);
  world.put(other, "c", "1");
  world.run(1_000);
  world.restart(node);
  linkAll(world);
  world.run(5_000);
  const page = node.replication.changesSince(cursor, "app");
  expect(page.lost).toBe(false);
  expect(page.changes.map(({ key }) => key)).toEqual(["b", "c"]);
  expect(node.replication.changesSince(page.cursor, "app").changes).toEqual([]);
});

test("rows that are damaged or gone are had again from a replica, and rows of no use are removed", () => {
  const world = World.full(7, 2, true);
  const node = world.node(0);
  for (let number = 0; number < 20; number++) world.put(world.node(number % 2), `key ${number}`, "x");
  world.run(3_000);
  world.crash(node);
  const rows = disk(node);
  const entries = [...rows].filter(([, { space }]) => space === Space.entry).map(([name]) => name);
  for (const name of entries.slice(0, 3)) rows.delete(name);
  const spoilt = entries[5] as string;
  rows.set(spoilt, { ...(rows.get(spoilt) as StoredRow), value: utf8("damaged") });
  rows.set("1 x", { space: Space.token, name: "x", value: utf8("no token of anybody") });
  rows.delete("0 meta");
  world.restart(node);
  expect(node.replication.buckets()[0]?.keys).toBe(16);
  linkAll(world);
  expect(world.settle(60_000)).toBeDefined();
  expect(node.replication.buckets()[0]?.keys).toBe(20);
  world.run(1_000);
  expect(rows.has("1 x")).toBe(false);
  expect([...rows.values()].filter(({ space }) => space === Space.entry)).toHaveLength(20);
});

test("proofs and tokens leave the disk with the last entry that needs them", () => {
  const world = World.full(8, 1, true);
  const node = world.node(0);
  for (let round = 0; round < 5; round++) {
    for (let number = 0; number < 10; number++) world.put(node, `key ${number}`, `${round}`);
    world.run(100);
  }
  const count = (space: number): number => [...disk(node).values()].filter((row) => row.space === space).length;
  expect([count(Space.token), count(Space.batch), count(Space.entry)]).toEqual([1, 1, 10]);
  for (let number = 0; number < 10; number++) world.delete(node, `key ${number}`);
  world.run(100);
  world.run(2 * 86_400_000);
  expect([count(Space.token), count(Space.batch), count(Space.entry)]).toEqual([0, 0, 0]);
});
