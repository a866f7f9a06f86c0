/**
 * Goal: what a replica that was away for longer than deletions are remembered still holds misleads nobody who reads, writes on a condition or
 * brings it copies before it has followed somebody. Method: whole replicas with disks in virtual time; what is asked is asked in the
 * moment in which the links come up.
 */
import { expect, test } from "vitest";
import { utf8 } from "../../../src/proto/bytes.ts";
import { encodeMessage } from "../../../src/proto/reconcile/messages.ts";
import { clockAt } from "../../../src/proto/replication/hlc.ts";
import {
  encodeHold,
  encodeRead,
  encodeReserve,
  encodeSurvey,
  VIEW_BYTES,
} from "../../../src/proto/replication/messages.ts";
import { decodeMessage } from "../../../src/proto/replication/parse-message.ts";
import { type Node, START, World } from "./world.ts";

const LONG_MS = 48 * 3_600_000;
const REQUEST = 1_000;

/** Three nodes; `gone` was deleted while the third was away, the deletion is forgotten, and the third is back without a link. */
function returned(seed: number): { readonly world: World; readonly there: Node; readonly away: Node; version: string } {
  const world = World.full(seed, 3, true);
  const [there, , away] = world.nodes as [Node, Node, Node];
  world.put(there, "gone", "1");
  world.run(60_000);
  const version = away.replication.get("app", "gone")?.version ?? "";
  world.crash(away);
  world.run(1_000);
  world.delete(there, "gone");
  world.run(LONG_MS);
  world.restart(away);
  expect(away.replication.standing.isAway).toBe(true);
  return { world, there, away, version };
}

function link(world: World, node: Node): void {
  for (const other of world.nodes) if (other !== node && other.isUp) world.link(node, other);
}

function conditional(world: World, node: Node, ifVersion: string | null): void {
  const value = utf8("2");
  world.input(node, { type: "put", request: REQUEST, bucket: "app", key: "gone", value, ifVersion, timeoutMs: 5_000 });
}

function read(world: World, node: Node): void {
  world.input(node, { type: "read", request: REQUEST, bucket: "app", key: "gone", isQuorum: true });
}

function answers(node: Node): unknown[] {
  return node.outputs.filter((output) => "request" in output && output.request === REQUEST);
}

test("a write on a condition of somebody else passes over what it holds, and does not bring it back", () => {
  const { world, there, away } = returned(1);
  link(world, away);
  conditional(world, there, null);
  world.run(10_000);
  expect(answers(there)).toMatchObject([{ type: "acknowledged" }]);
  for (const { replication } of world.nodes) expect(replication.get("app", "gone")?.value).toEqual(utf8("2"));
  for (const { outputs } of world.nodes.slice(0, 2)) {
    const told = outputs.flatMap((output) => (output.type === "changed" ? [output.entry.value] : []));
    expect(told.at(-1)).toEqual(utf8("2"));
    expect(told.filter((value) => value?.[0] === utf8("1")[0])).toHaveLength(1);
  }
});

test("a quorum read of somebody else passes over what it holds, and does not bring it back", () => {
  const { world, there, away } = returned(2);
  world.crash(world.node(1));
  link(world, away);
  read(world, there);
  world.run(10_000);
  expect(answers(there)).not.toContainEqual(expect.objectContaining({ entry: expect.anything() }));
  for (const { replication } of world.nodes) expect(replication.get("app", "gone")).toBeUndefined();
});

test("its own write over what it holds waits, and finds that it is gone", () => {
  const { world, away, version } = returned(3);
  link(world, away);
  conditional(world, away, version);
  world.run(10_000);
  expect(answers(away)).toEqual([{ type: "conflict", request: REQUEST, found: null }]);
});

test("its own write over what it holds is refused when nobody turns up", () => {
  const { world, away, version } = returned(4);
  conditional(world, away, version);
  world.run(10_000);
  expect(answers(away)).toEqual([{ type: "refused", request: REQUEST, reason: "no-majority" }]);
});

test("its own quorum read does not give what it holds", () => {
  const { world, away } = returned(5);
  link(world, away);
  read(world, away);
  world.run(10_000);
  expect(answers(away)).toHaveLength(1);
  expect(answers(away)).not.toContainEqual(expect.objectContaining({ entry: expect.anything() }));
});

test("of nothing does it say that it holds it", () => {
  const { world, there, away } = returned(6);
  world.link(there, away);
  away.outputs.length = 0;
  const item = { key: "gone", clock: clockAt(START), author: there.id, digest: new Uint8Array(8) };
  const view = new Uint8Array(VIEW_BYTES);
  const ask = (bytes: Uint8Array): void => world.input(away, { type: "message", peer: there.id, bytes });
  ask(encodeHold(1, "app", [item]));
  ask(encodeRead(2, "app", "gone"));
  ask(encodeReserve(3, { view, bucket: "app", key: "gone", basis: undefined, clock: clockAt(world.now) }));
  const open = { type: "open", seq: 4, salt: new Uint8Array(8), root: new Uint8Array(16), size: 1 } as const;
  ask(encodeSurvey("app", new Uint8Array(32).fill(255), encodeMessage(open)));
  world.run(15);
  const sent = away.outputs.flatMap((output) => (output.type === "send" ? [decodeMessage(output.bytes)] : []));
  expect(sent).toEqual([
    ...[1, 2, 3].map((seq) => ({ type: "verdict", seq, busy: true })),
    { type: "surveyed", bucket: "app", bytes: encodeMessage({ type: "busy", seq: 4 }) },
  ]);
});
