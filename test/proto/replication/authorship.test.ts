/** What an author wrote under a token that has expired since, or after it was revoked, is judged alike by whoever has it, whenever it came. */
import { expect, test } from "vitest";
import { hex, utf8 } from "../../../src/proto/bytes.ts";
import { MAX_JUDGED_PER_STEP } from "../../../src/proto/replication/limits.ts";
import { encodeBatchMessage } from "../../../src/proto/replication/messages.ts";
import { DEFAULT_POLICY, encodePolicy, POLICY_BUCKET } from "../../../src/proto/replication/policy.ts";
import { runAuthorship } from "./authorship-history.ts";
import { makeBatch } from "./make.ts";
import { type Node, START, tokenFor, World } from "./world.ts";

const SEEDS = 200;
const AT_ONCE = 50;

for (let first = 1; first <= SEEDS; first += AT_ONCE) {
  test(`histories of seeds ${first} to ${first + AT_ONCE - 1}, with tokens that end and members that are revoked on the way, end equal and without what is void`, () => {
    let withdrawn = 0;
    for (let seed = first; seed < first + AT_ONCE; seed++) {
      const outcome = runAuthorship(seed);
      expect({ seed, wrong: outcome.wrong }).toEqual({ seed, wrong: [] });
      withdrawn += outcome.withdrawn;
    }
    expect(withdrawn).toBeGreaterThan(AT_ONCE);
  }, 120_000);
}

function text(node: Node, key: string, bucket = "app"): string | undefined {
  const value = node.replication.get(bucket, key)?.value;
  return value ? Buffer.from(value).toString() : undefined;
}

test("an entry counts by its own date: a token that has expired since proves it to a newcomer, one that had expired then to nobody", () => {
  const world = World.full(1, 2, true);
  const [author, other] = [world.node(0), world.node(1)];
  world.renew(author, tokenFor(author.id, "kv:write:*", START - 1_000, START + 30_000));
  world.put(author, "in time", "x");
  world.run(60_000);
  world.recordsKnown = false;
  const newcomer = world.add(2);
  world.link(other, newcomer);
  world.run(60_000);
  expect(text(newcomer, "in time")).toBe("x");
  const late = makeBatch(0, [["app", "too late", "x"]], world.now, author.token);
  world.recordsKnown = true;
  world.input(other, { type: "message", peer: author.id, bytes: encodeBatchMessage(late.batch, late.entries) });
  world.run(1_000);
  expect(text(other, "too late")).toBeUndefined();
});

test("who stored it before hearing of a revocation takes it back, who heard first never has it, and what was written before stays", () => {
  const world = World.full(2, 4, true);
  const [outlaw, early, late] = [world.node(3), world.node(0), world.node(1)];
  world.put(outlaw, "before", "stays");
  world.run(1_000);
  const since = world.now;
  world.revoke(late, outlaw.id, since);
  world.put(outlaw, "after", "goes");
  world.run(1_000);
  expect([text(early, "after"), text(late, "after")]).toEqual(["goes", undefined]);
  for (const node of world.nodes) world.revoke(node, outlaw.id, since);
  world.run(1_000);
  for (const node of world.nodes) expect([text(node, "before"), text(node, "after")]).toEqual(["stays", undefined]);
  expect(world.isEqual()).toBe(true);
  expect(world.faults()).toEqual([]);
});

test("a batch that is being verified while its author is revoked is not stored", () => {
  const world = World.full(3, 2, true);
  const [outlaw, other] = [world.node(0), world.node(1)];
  world.run(1_000);
  world.put(outlaw, "k", "x");
  while (!other.outputs.some(({ type }) => type === "verify")) world.run(0.5);
  other.revoked.set(outlaw.id, START);
  world.run(1_000);
  expect(text(other, "k")).toBeUndefined();
  expect(other.outputs.filter(({ type }) => type === "changed")).toEqual([]);
});

test("a large value that is being pulled while its author is revoked is not stored", () => {
  const world = World.full(4, 2, true);
  const [outlaw, other] = [world.node(0), world.node(1)];
  world.run(1_000);
  world.put(outlaw, "k", new Uint8Array(2_000_000));
  world.run(100);
  other.revoked.set(outlaw.id, START);
  world.run(5_000);
  expect(other.replication.get("app", "k")).toBeUndefined();
});

test("a watcher is told of what is taken back as of a deletion, and one that comes back later reads anew", () => {
  const world = World.full(5, 2, true);
  const [outlaw, other] = [world.node(0), world.node(1)];
  const start = other.replication.cursor;
  world.put(outlaw, "k", "x");
  world.run(1_000);
  const seen = other.replication.changesSince(start, "app");
  expect(seen.changes.map(({ entry }) => entry.value)).toEqual([utf8("x")]);
  world.revoke(other, outlaw.id, START);
  world.run(1_000);
  const told = other.replication.changesSince(seen.cursor, "app");
  expect(told).toMatchObject({ lost: false, changes: [{ key: "k", entry: { value: null } }] });
  expect(other.replication.changesSince(told.cursor, "app").changes).toEqual([]);
  world.crash(other);
  world.restart(other);
  expect(other.replication.changesSince(seen.cursor, "app").lost).toBe(true);
  expect(other.replication.changesSince(other.replication.cursor, "app").lost).toBe(false);
});

test("what a revoked member agreed about a bucket is as if it had never been, and a whole transaction goes with it", () => {
  const world = World.full(6, 3, true);
  const [outlaw, other] = [world.node(0), world.node(1)];
  world.put(outlaw, "two", encodePolicy({ ...DEFAULT_POLICY, replicas: 2 }), POLICY_BUCKET);
  const writes = ["a", "b", "c"].map((key) => ({ key, value: utf8("x") }));
  world.input(outlaw, { type: "transaction", request: 9_000, bucket: "app", writes });
  world.run(1_000);
  expect(other.replication.policy("two").replicas).toBe(2);
  world.revoke(other, outlaw.id, START);
  world.run(1_000);
  expect(other.replication.policy("two")).toEqual(DEFAULT_POLICY);
  expect(other.replication.isPlacing).toBe(false);
  expect(other.replication.buckets()).toEqual([]);
});

test("a member that was off while another was revoked judges what it has when it starts, and large stores are judged in steps", () => {
  const world = World.full(7, 2, true);
  const [outlaw, other] = [world.node(0), world.node(1)];
  const count = MAX_JUDGED_PER_STEP + 100;
  for (let start = 0; start < count; start += 500) {
    for (let number = start; number < Math.min(count, start + 500); number++)
      world.put(outlaw, hex(utf8(`${number}`)), "x", "app", 1);
    world.run(100);
  }
  world.run(30_000);
  expect(other.replication.buckets()[0]?.keys).toBe(count);
  world.crash(other);
  other.revoked.set(outlaw.id, START);
  world.restart(other);
  world.run(10_000);
  expect(other.replication.buckets()).toEqual([]);
  world.crash(other);
  world.restart(other);
  expect(other.replication.buckets()).toEqual([]);
}, 30_000);
