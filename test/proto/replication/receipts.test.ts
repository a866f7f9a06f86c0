import { expect, test } from "vitest";
import type { Instant } from "../../../src/proto/machine.ts";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { MAX_PUSHED_BYTES } from "../../../src/proto/replication/limits.ts";
import { Outbox } from "../../../src/proto/replication/outbox.ts";
import { Peers } from "../../../src/proto/replication/peers.ts";
import { Receipts } from "../../../src/proto/replication/receipts.ts";
import { makeBatch } from "./make.ts";
import { type Node, peerNumber, START, World } from "./world.ts";

function names(node: Node, type: string): string[] {
  return node.outputs.filter((output) => output.type === type).map(({ type }) => type);
}

/** Receipts of member 0, linked with the members from 1 to `links`. */
function receiptsOf(links: number) {
  const peers = new Peers();
  const ids = Array.from({ length: links }, (_, index) => peerNumber(index + 1));
  for (const id of ids) peers.add(id, START);
  const outbox = new Outbox(peerNumber(0), peers, () => false);
  const receipts = new Receipts(outbox);
  return {
    receipts,
    /** Waits for one more replica of a batch, which anybody may hold or only `audience`. */
    open(value: Uint8Array, audience?: readonly PeerId[]): void {
      const { batch, entries } = makeBatch(0, [["app", "key", value]], START + ++written);
      const waiting = [{ request: written, replicas: 2, version: "", until: START + 10_000 }];
      receipts.open(batch, entries, waiting, () => audience, START);
    },
    /** To whom something was sent in the step at `now`. */
    step(now: Instant): readonly PeerId[] {
      receipts.timeout(peers.askable(now), now);
      return outbox.take().flatMap((output) => (output.type === "send" ? [output.peer] : []));
    },
    ids,
    peers,
  };
}
let written = 0;

test("a write that still lacks replicas is pushed again and again until its time is up, to other links each time", () => {
  const { open, step, ids, receipts } = receiptsOf(12);
  open(new Uint8Array(10));
  expect(step(START + 1_900)).toEqual([]);
  expect(step(START + 2_000)).toEqual(ids.slice(0, 8));
  expect(step(START + 3_900)).toEqual([]);
  expect(step(START + 4_000)).toEqual([...ids.slice(8), ...ids.slice(0, 4)]);
  expect(step(START + 6_000)).toEqual([...ids.slice(4)]);
  step(START + 8_000);
  step(START + 10_000);
  expect([receipts.size, receipts.deadline()]).toEqual([0, undefined]);
  expect(step(START + 12_000)).toEqual([]);
});

test("a late write is pushed to nobody who is not to hold it, has said that he is busy, or is not heard any more", () => {
  const { open, step, ids, peers } = receiptsOf(4);
  const [busy, shunned, , other] = ids as [PeerId, PeerId, PeerId, PeerId];
  Object.assign(peers.conduct(busy) ?? {}, { pausedUntil: START + 3_000 });
  Object.assign(peers.conduct(shunned) ?? {}, { ignored: true });
  open(new Uint8Array(10), [peerNumber(0), busy, shunned, other]);
  expect(step(START + 2_000)).toEqual([other]);
  expect(step(START + 4_000).toSorted()).toEqual([busy, other].toSorted());
});

test("many late writes are pushed a few at a time, so that they do not fill the links that made them late", () => {
  const { open, step, ids } = receiptsOf(2);
  const value = new Uint8Array(40_000);
  const count = 300;
  for (let number = 0; number < count; number++) open(value);
  const inOneGo = step(START + 2_000).length;
  expect(inOneGo * value.length).toBeLessThan(MAX_PUSHED_BYTES + ids.length * value.length);
  expect(inOneGo * value.length).toBeGreaterThan(MAX_PUSHED_BYTES / 2);
  expect(step(START + 3_900)).toEqual([]);
  expect(step(START + 4_000).length).toBeGreaterThan(inOneGo / 2);
});

test("a write is acknowledged in time though nobody was linked when it was pushed first, and its batch came in part", () => {
  const world = World.full(1, 2, true);
  const [author, other] = [world.node(0), world.node(1)];
  world.run(1_000);
  world.loss = 1;
  for (const key of ["a", "b"]) world.put(author, key, "1", "app", 2);
  world.run(1);
  world.unlink(author, other);
  world.run(1_000);
  world.put(other, "a", "later");
  world.run(2_000);
  world.link(author, other);
  world.run(5_000);
  expect(names(author, "unacknowledged")).toEqual([]);
  expect(names(author, "acknowledged")).toHaveLength(2);
});
