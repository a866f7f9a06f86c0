import { expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { batchBody } from "../../../src/proto/replication/batch.ts";
import type { Entry } from "../../../src/proto/replication/entry.ts";
import { instantOf } from "../../../src/proto/replication/hlc.ts";
import { DEFAULT_QUOTAS } from "../../../src/proto/replication/limits.ts";
import { encodeBatchMessage } from "../../../src/proto/replication/messages.ts";
import { type Content, type MadeBatch, makeBatch } from "./make.ts";
import { fakeSignature, peerNumber, START, tokenFor, World } from "./world.ts";

/** An outlaw may write to the buckets "app" and "filled", of which a replica takes 20 keys each and a quarter more of others. */
const SCOPES = "kv:write:app,kv:write:filled";
const QUOTAS = { ...DEFAULT_QUOTAS, entriesPerBucket: 20 };
const OUTLAW = 3;

function world(seed: number): World {
  const world = new World(seed);
  for (let number = 0; number < OUTLAW; number++) world.add(number, { quotas: QUOTAS });
  world.add(OUTLAW, { scopes: SCOPES, quotas: QUOTAS });
  for (const a of world.nodes) for (const b of world.nodes) if (a.id < b.id) world.link(a, b);
  world.run(1_000);
  return world;
}

function made(world: World, contents: readonly Content[], aheadMs = 0): MadeBatch {
  return makeBatch(OUTLAW, contents, world.now + aheadMs, world.node(OUTLAW).token);
}

/** The batch under another header, for which its entries are made to stand. */
function under(
  { entries }: MadeBatch,
  batch: MadeBatch["batch"],
  change?: (entry: Entry) => Partial<Entry>,
): MadeBatch {
  return { batch, entries: entries.map((entry) => ({ ...entry, ...change?.(entry), batch })) };
}

const KINDS: readonly (readonly [string, fault: string, (world: World) => MadeBatch])[] = [
  ["a clock two minutes ahead", "clock-ahead", (world) => made(world, [["app", "bad", "x"]], 130_000)],
  ["a clock some time ahead", "deferred", (world) => made(world, [["app", "bad", "x"]], 90_000)],
  [
    "another author's name",
    "malformed",
    (world) => {
      const bad = makeBatch(1, [["app", "bad", "x"]], world.now, world.node(1).token);
      return under(bad, { ...bad.batch, signature: fakeSignature(peerNumber(OUTLAW), batchBody(bad.batch)) });
    },
  ],
  [
    "another author's batch for its own",
    "not-in-batch",
    (world) => {
      const bad = makeBatch(1, [["app", "bad", "x"]], world.now, world.node(1).token);
      return under(bad, { ...bad.batch, author: peerNumber(OUTLAW) });
    },
  ],
  ["a bucket that its token does not name", "forbidden", (world) => made(world, [["private", "bad", "x"]])],
  [
    "a token that has expired",
    "malformed",
    (world) => {
      const outlaw = world.node(OUTLAW);
      outlaw.token = tokenFor(outlaw.id, SCOPES, START - 9_000, START);
      return made(world, [["app", "bad", "x"]]);
    },
  ],
  ["a key of 513 bytes", "malformed", (world) => made(world, [["app", "k".repeat(513), "x"]])],
  [
    "a value of 8 MiB and a byte",
    "malformed",
    (world) => {
      const bad = made(world, [["app", "bad", new Uint8Array(50_000)]]);
      return under(bad, bad.batch, () => ({ size: 8_388_609 }));
    },
  ],
  [
    "a value other than was signed",
    "not-in-batch",
    (world) => {
      const bad = made(world, [["app", "bad", "x"]]);
      return under(bad, bad.batch, () => ({ value: utf8("y") }));
    },
  ],
  [
    "more keys than a bucket takes",
    "quota",
    (world) =>
      made(
        world,
        Array.from({ length: 60 }, (_, number) => ["filled", `key ${number}`, "x"] as const),
      ),
  ],
];

test.each(KINDS)("%s is refused and counted, moves no clock, and nobody else notices", (_name, fault, build) => {
  const mesh = world(1);
  const { batch, entries } = build(mesh);
  const [victim, other, third] = [mesh.node(0), mesh.node(1), mesh.node(2)];
  mesh.input(victim, { type: "message", peer: peerNumber(OUTLAW), bytes: encodeBatchMessage(batch, entries) });
  mesh.run(500);
  const said = victim.outputs.flatMap((output) =>
    output.type === "fault" ? [output.fault] : output.type === "deferred" ? ["deferred"] : [],
  );
  expect(new Set(said)).toEqual(new Set([fault]));
  for (const key of ["bad", "k".repeat(513)])
    for (const bucket of ["app", "private"]) expect(victim.replication.get(bucket, key)).toBeUndefined();
  expect(victim.replication.list("filled", { limit: 100 }).entries.length).toBeLessThanOrEqual(25);
  for (const author of [victim, other, third]) mesh.put(author, `of ${author.number}`, "good", "app", 3);
  mesh.run(1_000);
  for (const node of [victim, other, third]) {
    expect(node.outputs.filter(({ type }) => type === "acknowledged")).toHaveLength(1);
    expect(node.outputs.filter(({ type }) => type === "unacknowledged" || type === "refused")).toEqual([]);
    for (const author of [0, 1, 2]) {
      const entry = node.replication.get("app", `of ${author}`);
      expect(entry?.value).toEqual(utf8("good"));
      expect(instantOf(entry?.clock ?? 0)).toBeLessThanOrEqual(mesh.now);
    }
  }
  const digests = (bucket: string) =>
    [victim, other, third].map(({ replication }) => replication.buckets().find(({ name }) => name === bucket)?.digest);
  expect(new Set(digests("app")).size).toBe(1);
});
