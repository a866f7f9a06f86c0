import fc from "fast-check";
import { expect, test } from "vitest";
import { Digest } from "../../src/proto/membership/digest.ts";
import { packEntries, packNamed, unpackEntries, unpackNamed } from "../../src/proto/membership/entries.ts";
import {
  decodeMessage,
  decodePayload,
  encodeClaims,
  encodeNotice,
  encodePayload,
  encodeTell,
} from "../../src/proto/membership/messages.ts";
import { decodeProbeFrame, encodeProbe, encodeReport, encodeRequest } from "../../src/proto/membership/probe-frames.ts";
import { compareRecords, encodeRecord, RecordShelf, readRecord } from "../../src/proto/membership/record.ts";
import { readRefutation, readSuspicion } from "../../src/proto/membership/statements.ts";
import { publicKeyOf } from "../../src/proto/peer-id.ts";
import { Lane } from "../../src/proto/streams/lanes.ts";
import { encode } from "../../src/proto/wire/codec.ts";
import {
  Agent,
  DRAFT,
  id,
  record,
  recordPayload,
  refutation,
  SIGNATURE,
  suspicion,
} from "../proto/membership/fixtures.ts";

const MEMBERS = 6;
const who = fc.integer({ min: 0, max: MEMBERS });

/** Bytes at random, and bytes that begin like a message. */
const noise = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .tuple(
      fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 18, 19, 64),
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 120 }), fc.uint8Array({ minLength: 64, maxLength: 64 }), fc.nat()), {
        maxLength: 4,
      }),
    )
    .map(([kind, items]) => encode([kind, ...items])),
);

test("no bytes make a decoder throw", () => {
  const shelf = new RecordShelf();
  fc.assert(
    fc.property(noise, (bytes) => {
      decodeMessage(bytes, shelf);
      decodePayload(bytes, shelf);
      decodeProbeFrame(bytes);
      readRecord(bytes, SIGNATURE);
      readSuspicion(bytes, SIGNATURE);
      readRefutation(bytes, SIGNATURE);
      unpackEntries(bytes);
      unpackNamed(bytes);
    }),
    { numRuns: 1_000 },
  );
});

test("no bytes on any lane make the machine throw, or forget a member, or ask for a check", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(noise, fc.constantFrom(0, 1, 2, 3), fc.constantFrom("lane", "broadcast", "routed"))),
      (all) => {
        const agent = new Agent({ members: 3, routing: true });
        agent.link(id(1));
        const { checks } = agent.machine.statistics();
        for (const [bytes, lane, way] of all) {
          if (way === "lane") agent.do({ type: "message", peer: id(1), lane: lane as Lane, bytes });
          else if (way === "broadcast") agent.deliver(bytes);
          else agent.do({ type: "routed", from: id(2), bytes });
        }
        expect(agent.machine.statistics().members).toEqual({ alive: 4, suspect: 0, down: 0, left: 0 });
        expect(agent.machine.statistics().checks).toBe(checks);
      },
    ),
    { numRuns: 150 },
  );
});

const draft = fc.record({
  boot: fc.integer({ min: 1, max: 3 }),
  incarnation: fc.integer({ min: 0, max: 3 }),
  status: fc.constantFrom("alive" as const, "left" as const),
  name: fc.constantFrom("a", "b"),
});

test("a record that fits its bounds comes back as it was", () => {
  const text = (most: number) => fc.string({ maxLength: most, unit: "grapheme-ascii" });
  const labels = fc
    .uniqueArray(fc.tuple(text(20), text(20)), { selector: ([key]) => key, maxLength: 32 })
    .map((pairs) => pairs.sort(([a], [b]) => (a < b ? -1 : 1)));
  const counts = {
    boot: fc.integer({ min: 1, max: 0xffff_ffff }),
    incarnation: fc.integer({ min: 0, max: 0xffff_ffff }),
  };
  fc.assert(
    fc.property(fc.record({ ...counts, name: text(64), labels, token: text(200) }), (fields) => {
      const whole = { ...DRAFT, ...fields };
      expect(readRecord(encodeRecord(id(1), whole), SIGNATURE)).toMatchObject(whole);
    }),
  );
});

test("the order of records is total", () => {
  fc.assert(
    fc.property(draft, draft, draft, (x, y, z) => {
      const [a, b, c] = [record(id(1), x), record(id(1), y), record(id(1), z)];
      expect(Math.sign(compareRecords(a, b)) + Math.sign(compareRecords(b, a))).toBe(0);
      if (compareRecords(a, b) <= 0 && compareRecords(b, c) <= 0) expect(compareRecords(a, c)).toBeLessThanOrEqual(0);
      if (compareRecords(a, b) === 0) expect(a.body).toEqual(b.body);
    }),
  );
});

test("merging records is commutative and idempotent", () => {
  const payload = fc
    .tuple(fc.integer({ min: 1, max: 3 }), draft)
    .map(([number, fields]) => recordPayload(id(number), fields));
  const list = (payloads: readonly Uint8Array[]): string[] => {
    const agent = new Agent();
    for (const bytes of payloads) agent.deliver(bytes);
    return [...agent.machine.members()]
      .map(({ record: { fingerprint, status }, state }) => `${fingerprint} ${status} ${state}`)
      .sort();
  };
  fc.assert(
    fc.property(
      // Fewer than the burst of one subject's rate, which is there to be reached by others.
      fc
        .array(payload, { maxLength: 8 })
        .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
      ([all, shuffled]) => {
        const once = list(all);
        expect(list(shuffled)).toEqual(once);
        expect(list([...all, ...shuffled])).toEqual(once);
      },
    ),
  );
});

const step = fc.oneof(
  fc.record({ do: fc.constantFrom("link-up" as const, "link-lost" as const, "link-closed" as const), peer: who }),
  fc.record({ do: fc.constant("record" as const), peer: who, fields: draft }),
  fc.record({
    do: fc.constant("accuse" as const),
    by: who,
    peer: who,
    id: fc.nat(3),
    boot: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ do: fc.constant("refute" as const), peer: who, id: fc.nat(3), boot: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ do: fc.constantFrom("claim" as const, "notice" as const), peer: who, by: who }),
  fc.record({
    do: fc.constantFrom("probe" as const, "answer" as const, "request" as const, "report" as const),
    peer: who,
    by: who,
  }),
  fc.record({ do: fc.constantFrom("revoke" as const, "leave" as const), peer: who }),
  fc.record({ do: fc.constant("pass" as const), ms: fc.constantFrom(1, 300, 2_000, 20_000) }),
  fc.record({ do: fc.constant("freeze" as const), ms: fc.constantFrom(700, 60_000) }),
);

function apply(agent: Agent, one: typeof step extends fc.Arbitrary<infer Step> ? Step : never): void {
  const lane = (peer: number, bytes: Uint8Array, on: Lane): void => {
    agent.do({ type: "message", peer: id(peer), lane: on, bytes });
  };
  switch (one.do) {
    case "link-up":
      if (one.peer !== 0) agent.link(id(one.peer));
      break;
    case "link-lost":
    case "link-closed":
      agent.do({ type: "link-down", peer: id(one.peer), deliberate: one.do === "link-closed" });
      break;
    case "record":
      agent.deliver(recordPayload(id(one.peer), one.fields));
      break;
    case "accuse":
      if (one.by !== one.peer)
        agent.deliver(encodePayload("suspicion", suspicion(id(one.by), id(one.peer), { id: one.id, boot: one.boot })));
      break;
    case "refute":
      if (one.peer !== 0) lane(1, encodeTell(encodePayload("refutation", refutation(id(one.peer), one))), Lane.gossip);
      break;
    case "claim":
      lane(one.by, encodeClaims(packEntries([{ ...record(id(one.peer)), down: true, ageSeconds: 60 }])), Lane.gossip);
      break;
    case "notice":
      agent.deliver(
        encodeNotice(packNamed([{ id: id(one.peer), key: publicKeyOf(id(one.peer)), boot: 1, incarnation: 0 }])),
      );
      break;
    case "probe":
    case "answer":
      lane(one.by, encodeProbe(one.do, one.peer), Lane.probe);
      break;
    case "request":
      lane(one.by, encodeRequest(one.peer, id(one.peer)), Lane.probe);
      break;
    case "report":
      lane(one.by, encodeReport(one.peer, "reached"), Lane.probe);
      break;
    case "revoke":
      if (one.peer !== 0) agent.do({ type: "revoke", target: { of: "member", peer: id(one.peer) } });
      break;
    case "leave":
      if (one.peer === 0) agent.do({ type: "leave" });
      break;
    case "pass":
      agent.pass(one.ms);
      break;
    case "freeze":
      agent.now += one.ms;
      agent.do({ type: "timeout" });
      break;
  }
}

test("whatever happens, rings, counts, digest and cases agree with the list, and no record goes back", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const agent = new Agent({ members: MEMBERS });
      const newest = new Map<string, ReturnType<typeof record>>();
      for (const one of steps) {
        apply(agent, one);
        const digest = new Digest();
        const counts = { alive: 0, suspect: 0, down: 0, left: 0 };
        for (const member of agent.machine.members()) {
          const { record: held, state } = member;
          const before = newest.get(held.id);
          if (before !== undefined) expect(compareRecords(held, before)).toBeGreaterThanOrEqual(0);
          newest.set(held.id, held);
          counts[state]++;
          if (!member.lapsed) digest.toggle(held, state === "down");
          expect(agent.machine.rings.has(held.id)).toBe(state === "alive" || state === "suspect");
          // A suspicion is open against exactly those that are suspect.
          expect(agent.machine.suspicion(held.id) !== undefined).toBe(state === "suspect");
        }
        expect(agent.machine.statistics().members).toEqual(counts);
        expect(agent.machine.rings.size).toBe(counts.alive + counts.suspect);
        const deadline = agent.machine.deadline();
        expect(deadline === undefined || deadline > agent.now).toBe(true);
      }
    }),
    { numRuns: 200 },
  );
});
