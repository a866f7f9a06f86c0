import fc from "fast-check";
import { expect, test } from "vitest";
import type { MessageId } from "../../../src/proto/gossip/messages.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import type { ReplicationOutput } from "../../../src/proto/replication/effects.ts";
import { encodeBatchMessage } from "../../../src/proto/replication/messages.ts";
import { Replication } from "../../../src/proto/replication/replication.ts";
import { encode, type WireValue } from "../../../src/proto/wire/codec.ts";
import { makeBatch } from "../../proto/replication/make.ts";
import { check, peerNumber, START, tokenFor, World } from "../../proto/replication/world.ts";

const self = peerNumber(0);
const peer = peerNumber(1);

const scalar = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer({ min: -2, max: 20 }),
  fc.double({ noNaN: true }),
  fc.constantFrom("app", "", "a".repeat(600)),
  fc.constantFrom(0, 5, 6, 8, 14, 16, 28, 32, 64, 96).map((length) => new Uint8Array(length)),
);
const tree: fc.Memo<WireValue> = fc.memo((depth) =>
  depth <= 1 ? (scalar as fc.Arbitrary<WireValue>) : fc.oneof(scalar, fc.array(tree(), { maxLength: 5 })),
);

function replica(): Replication {
  const replication = new Replication({ self, random: new SeededRandom(1), tokenOf: (member) => tokenFor(member) });
  replication.handle({ type: "link-up", peer }, START);
  return replication;
}

const harmless = (outputs: readonly ReplicationOutput[]): boolean =>
  outputs.every(
    ({ type }) => type === "fault" || type === "verdict" || type === "send" || type === "verify" || type === "deferred",
  );

test("arbitrary bytes never throw and never reach the store", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 300 }), tree(5).map(encode)), { maxLength: 10 }),
      (messages) => {
        const replication = replica();
        for (const bytes of messages) {
          expect(harmless(replication.handle({ type: "message", peer, bytes }, START))).toBe(true);
          expect(harmless(replication.handle({ type: "routed", peer, bytes }, START))).toBe(true);
          const id = "any" as MessageId;
          expect(harmless(replication.handle({ type: "delivered", id, from: peer, payload: bytes }, START))).toBe(true);
        }
        expect(replication.buckets()).toEqual([]);
        expect(replication.handle({ type: "timeout" }, START + 60_000)).toBeDefined();
      },
    ),
    { numRuns: 500 },
  );
});

test("messages of every kind with any one byte changed never throw, and a changed batch is never verified", () => {
  const world = World.full(1, 3);
  for (let index = 0; index < 40; index++)
    world.put(world.node(index % 3), `k${index}`, index % 9 === 0 ? new Uint8Array(60_000) : "x");
  world.loss = 1;
  for (let index = 0; index < 40; index++) world.put(world.node(index % 3), `k${index}`, "y");
  const conditional = { request: 9_000, bucket: "app", key: "fresh", value: new Uint8Array(1), ifVersion: null };
  for (const node of world.nodes) world.input(node, { type: "put", ...conditional });
  world.run(120_000);
  const byKind = new Map<number, Uint8Array>();
  for (const { outputs } of world.nodes) {
    for (const output of outputs) if (output.type === "send") byKind.set(output.bytes[1] as number, output.bytes);
  }
  const { batch, entries } = makeBatch(1, [["app", "a", "x"]]);
  const messages = [...byKind.values(), encodeBatchMessage(batch, entries)].filter(({ length }) => length < 20_000);
  expect(messages.length).toBeGreaterThan(11);
  fc.assert(
    fc.property(fc.constantFrom(...messages), fc.nat(), fc.integer({ min: 1, max: 255 }), (message, at, change) => {
      const bytes = message.slice();
      bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ change;
      const replication = replica();
      const outputs = replication.handle({ type: "message", peer, bytes }, START);
      expect(harmless(outputs)).toBe(true);
      for (const output of outputs) if (output.type === "verify") expect(check(output, START)).toBeUndefined();
    }),
    { numRuns: 2_000 },
  );
});
