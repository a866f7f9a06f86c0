import { expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { pathOf } from "../../../src/proto/replication/entry.ts";
import { Placement, SLOTS, slotOf } from "../../../src/proto/replication/placement.ts";
import { DEFAULT_POLICY, encodePolicy, POLICY_BUCKET, parsePolicy } from "../../../src/proto/replication/policy.ts";
import { type Node, peerNumber, START, World } from "./world.ts";

function agree(world: World, replicas: number, bucket = "app"): void {
  world.put(world.node(0), bucket, encodePolicy({ ...DEFAULT_POLICY, replicas }), POLICY_BUCKET);
  world.run(3_000);
}

/** How many keys have how many copies on members that are up: "copies: keys". */
function copies(world: World, count: number): string[] {
  const found = new Map<number, number>();
  const up = world.nodes.filter(({ isUp }) => isUp);
  for (let number = 0; number < count; number++) {
    const held = up.filter(({ replication }) => replication.get("app", `key ${number}`) !== undefined).length;
    found.set(held, (found.get(held) ?? 0) + 1);
  }
  return [...found].map(([held, keys]) => `${held}: ${keys}`).sort();
}

function fill(world: World, count: number): void {
  for (let number = 0; number < count; number++) {
    world.put(world.node(number % world.nodes.length), `key ${number}`, `value ${number}`);
    if (number % 100 === 99) world.run(50);
  }
  world.run(3_000);
}

function acknowledged(node: Node): number {
  return node.outputs.filter(({ type }) => type === "acknowledged").length;
}

test("the same members rank the same, a member that goes moves only what it had, and weights count", () => {
  const storers = Array.from({ length: 10 }, (_, number) => ({ id: peerNumber(number), capacity: 100 }));
  const [one, two] = [new Placement(), new Placement()];
  one.update(storers, START);
  two.update([...storers].reverse(), START);
  const before = Array.from({ length: SLOTS }, (_, slot) => one.replicas(slot, 3));
  expect(Array.from({ length: SLOTS }, (_, slot) => two.replicas(slot, 3))).toEqual(before);
  const shares = storers.map(({ id }) => before.filter((replicas) => replicas.includes(id)).length);
  for (const share of shares) expect(share).toBeGreaterThan(45);
  for (const share of shares) expect(share).toBeLessThan(110);
  const gone = storers[4]?.id;
  const rest = storers.filter(({ id }) => id !== gone);
  expect(one.update(rest, START)).toBe("none");
  expect(one.replicas(0, 3)).toEqual(before[0]);
  expect(one.update(rest, START + 2_000)).toBe("loss");
  for (let slot = 0; slot < SLOTS; slot++) {
    const after = one.replicas(slot, 3);
    for (const id of before[slot] ?? []) if (id !== gone) expect(after).toContain(id);
  }
  const heavy = storers.map((storer, index) => ({ ...storer, capacity: index === 0 ? 400 : 100 }));
  two.update(heavy, START);
  const share = Array.from({ length: SLOTS }, (_, slot) => two.replicas(slot, 1)[0]).filter(
    (id) => id === heavy[0]?.id,
  );
  expect(share.length).toBeGreaterThan(50);
});

test("a policy comes back as it was written, and what is none is refused", () => {
  const policy = { replicas: 3, ttlMs: 60_000, retentionMs: undefined, maxKeys: 10, maxBytes: undefined };
  expect(parsePolicy(encodePolicy(policy))).toEqual(policy);
  for (const wrong of [{ replicas: 1 }, { replicas: 17 }, { ttlMs: 1 }, { maxKeys: -1 }, { maxBytes: 0.5 }]) {
    expect(parsePolicy(encodePolicy({ ...DEFAULT_POLICY, ...wrong }))).toBeUndefined();
  }
  expect(parsePolicy(utf8("no policy"))).toBeUndefined();
});

test("each key of a bucket with two copies is on the two members that are ranked for it, and acknowledged by both", () => {
  const world = World.full(1, 5, true);
  agree(world, 2);
  const before = world.nodes.map(acknowledged);
  fill(world, 200);
  expect(copies(world, 200)).toEqual(["2: 200"]);
  const acks = world.nodes.map((node, index) => acknowledged(node) - (before[index] ?? 0));
  expect(acks).toEqual([40, 40, 40, 40, 40]);
  for (const { replication } of world.nodes) {
    for (let number = 0; number < 200; number++) {
      const isThere = replication.get("app", `key ${number}`) !== undefined;
      expect(isThere).toBe(replication.isMine("app", `key ${number}`));
    }
  }
  expect(world.faults()).toEqual([]);
});

test("a bucket that was everywhere and gets two copies leaves the other members", () => {
  const world = World.full(2, 5, true);
  world.run(1_000);
  fill(world, 200);
  expect(copies(world, 200)).toEqual(["5: 200"]);
  agree(world, 2);
  world.run(5_000);
  expect(copies(world, 200)).toEqual(["2: 200"]);
});

test("two copies of everything are there again within ten seconds of a death, and only two after the return", () => {
  const world = World.full(3, 5, true);
  agree(world, 2);
  fill(world, 2_000);
  const dead = world.node(2);
  world.crash(dead);
  world.run(1_000);
  world.declare(dead, true);
  world.run(10_000);
  expect(copies(world, 2_000)).toEqual(["2: 2000"]);
  world.restart(dead);
  for (const other of world.nodes) if (other !== dead) world.link(dead, other);
  world.declare(dead, false);
  world.run(40_000);
  expect(copies(world, 2_000)).toEqual(["2: 2000"]);
  expect(world.faults()).toEqual([]);
});

test("a write whose replica is down goes to the one that follows it", () => {
  const world = World.full(4, 4, true);
  agree(world, 2);
  const dead = world.node(3);
  world.crash(dead);
  for (let number = 0; number < 50; number++) world.put(world.node(0), `key ${number}`, "x");
  world.run(3_000);
  world.declare(dead, true);
  world.run(8_000);
  expect(copies(world, 50)).toEqual(["2: 50"]);
});

test("a member reads what it does not hold from a replica, and a quorum read never misses a quorum write", () => {
  const world = World.full(5, 5, true);
  agree(world, 3);
  fill(world, 30);
  for (let number = 0; number < 30; number++) {
    for (const [index, node] of world.nodes.entries()) {
      const request = 1_000 + number;
      world.input(node, { type: "read", request, bucket: "app", key: `key ${number}`, isQuorum: index % 2 === 0 });
    }
  }
  world.run(1_000);
  for (const node of world.nodes) {
    const found = node.outputs.flatMap((output) => (output.type === "read" ? [output.entry?.value] : []));
    expect(found).toHaveLength(30);
    expect(found.every((value) => value !== undefined && value !== null)).toBe(true);
  }
  // Copies that reading has left are handed over.
  world.run(10_000);
  expect(copies(world, 30)).toEqual(["3: 30"]);
  const [path, node] = [pathOf(utf8("key 0")), world.node(0)];
  expect(slotOf(path)).toBeLessThan(SLOTS);
  for (const other of world.nodes) world.unlink(node, other);
  world.input(node, { type: "read", request: 2_000, bucket: "app", key: "key 0", isQuorum: true });
  world.run(10);
  expect(node.outputs.at(-1)).toMatchObject({ type: "unreadable", reason: "unreachable" });
});

test("a member that drains has handed over everything that it held", () => {
  const world = World.full(6, 4, true);
  agree(world, 2);
  fill(world, 400);
  const leaver = world.node(1);
  world.declare(leaver, true);
  world.input(leaver, { type: "drain" });
  world.run(8_000);
  expect(leaver.outputs.some(({ type }) => type === "drained")).toBe(true);
  world.crash(leaver);
  expect(copies(world, 400)).toEqual(["2: 400"]);
});

test("values go after their time to live, alike everywhere, and a late one is refused", () => {
  const world = World.full(7, 3);
  world.put(world.node(0), "app", encodePolicy({ ...DEFAULT_POLICY, ttlMs: 120_000 }), POLICY_BUCKET);
  world.run(1_000);
  fill(world, 20);
  expect(copies(world, 20)).toEqual(["3: 20"]);
  world.run(200_000);
  expect(copies(world, 20)).toEqual(["0: 20"]);
  expect(world.isEqual()).toBe(true);
  expect(world.faults()).toEqual([]);
});

test("a bucket's own quota refuses what goes beyond it, and only there", () => {
  const world = World.full(8, 2);
  world.put(world.node(0), "app", encodePolicy({ ...DEFAULT_POLICY, maxKeys: 10 }), POLICY_BUCKET);
  world.run(1_000);
  for (let number = 0; number < 30; number++) world.put(world.node(0), `key ${number}`, "x");
  world.put(world.node(0), "elsewhere", "x", "other");
  world.run(1_000);
  const refused = world.node(0).outputs.flatMap((output) => (output.type === "refused" ? [output.reason] : []));
  expect(refused.length).toBeGreaterThanOrEqual(17);
  expect(new Set(refused)).toEqual(new Set(["quota"]));
  expect(world.node(1).replication.get("other", "elsewhere")).toBeDefined();
});

test("nobody without the scope says what holds for a bucket", () => {
  const world = new World(9);
  const writer = world.add(0, { scopes: "kv:write:*" });
  const admin = world.add(1, { scopes: "kv:admin:app" });
  world.link(writer, admin);
  const value = encodePolicy({ ...DEFAULT_POLICY, replicas: 2 });
  world.put(writer, "app", value, POLICY_BUCKET);
  world.put(admin, "other", value, POLICY_BUCKET);
  world.run(100);
  for (const { outputs } of world.nodes)
    expect(outputs.some((output) => output.type === "refused" && output.reason === "forbidden")).toBe(true);
  world.put(admin, "app", value, POLICY_BUCKET);
  world.run(1_000);
  expect(writer.replication.policy("app").replicas).toBe(2);
});
