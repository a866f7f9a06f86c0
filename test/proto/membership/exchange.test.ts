import { describe, expect, test } from "vitest";
import type { MembershipOutput } from "../../../src/proto/membership/effects.ts";
import { decodeMessage, decodePayload } from "../../../src/proto/membership/messages.ts";
import { RecordShelf } from "../../../src/proto/membership/record.ts";
import { SeededRandom, shuffle } from "../../../src/proto/random.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Agent, events, faults, id, NOW, of, recordPayload } from "./fixtures.ts";

const shelf = new RecordShelf();

interface Exchanged {
  readonly type: string | undefined;
  readonly bytes: number;
  readonly at: number;
}

/** Two linked agents. Carries what they say to each other on the gossip lane until `ms` have passed. */
function converse(a: Agent, b: Agent, ms: number): Exchanged[] {
  const log: Exchanged[] = [];
  const carry = (from: Agent, to: Agent, outputs: readonly MembershipOutput[]): void => {
    for (const { bytes } of of(outputs, "broadcast"))
      log.push({ type: `broadcast ${decodePayload(bytes, shelf)?.type}`, bytes: bytes.length, at: from.now - NOW });
    for (const { peer, lane, bytes } of of(outputs, "send")) {
      if (peer !== to.self || lane !== Lane.gossip) continue;
      log.push({ type: decodeMessage(bytes, shelf)?.type, bytes: bytes.length, at: from.now - NOW });
      carry(to, from, to.do({ type: "message", peer: from.self, lane, bytes }));
    }
  };
  const opening = [a.link(b.self), b.link(a.self)] as const;
  carry(a, b, opening[0]);
  carry(b, a, opening[1]);
  for (let passed = 0; passed < ms; passed += 50) {
    carry(a, b, a.pass(50));
    carry(b, a, b.pass(50));
  }
  return log;
}

function held(agent: Agent): string[] {
  return [...agent.machine.members()].map(({ record }) => `${record.id} ${record.boot} ${record.incarnation}`).sort();
}

test("two equal lists exchange one digest of a few bytes and nothing more", () => {
  const [a, b] = [new Agent({ members: 20 }), new Agent({ self: 1 })];
  for (const number of [0, ...Array.from({ length: 20 }, (_, index) => index + 1)])
    b.deliver(recordPayload(id(number)));
  const log = converse(a, b, 200);
  expect(log).toEqual([{ type: "digest", bytes: 13, at: 0 }]);
});

// Of the two identities one is lower than ours and one higher: each side begins once.
test.each([100, 101, 102, 103])("after an exchange both hold the newest record of everybody (%i)", (self) => {
  const [a, b] = [new Agent({ members: 30 }), new Agent({ self })];
  for (let number = 20; number < 60; number++) b.deliver(recordPayload(id(number), { incarnation: number % 2 }));
  converse(a, b, 100);
  expect(held(a)).toEqual(held(b));
  expect(held(a).length).toBe(61);
  expect(a.machine.member(id(25))?.record.incarnation).toBe(1);
  expect(faults(a.pass(10))).toEqual([]);
});

test("those who have left are left for both, and those who are down for whoever had not known them", () => {
  const [a, b] = [new Agent({ members: 5 }), new Agent({ self: 100 })];
  a.deliver(recordPayload(id(1), { incarnation: 1, status: "left" }));
  a.do({ type: "introduced", standing: "remembered", records: [recordPayload(id(50))] });
  converse(a, b, 1_000);
  expect(b.state(id(1))).toBe("left");
  expect(b.state(id(50))).toBe("down");
  expect(b.state(id(2))).toBe("alive");
});

test("a newcomer learns a long list in messages of bounded size, at a bounded pace", () => {
  const [a, b] = [new Agent({ members: 1_000 }), new Agent({ self: 2_000 })];
  const log = converse(a, b, 1_000);
  const records = log.filter(({ type }) => type === "records");
  expect(Math.max(...log.map(({ bytes }) => bytes))).toBeLessThanOrEqual(200 * 1_024);
  // The newcomer's own record, and the list in four parts.
  expect(records.map(({ at }) => at)).toEqual([0, 0, 50, 100, 150]);
  expect(b.machine.statistics().members.alive).toBe(1_002);
  const costs = converse(a, b, 1_000).filter(({ type }) => type === "records");
  expect(costs).toEqual([]);
});

describe("what an exchange has taught", () => {
  test("is broadcast when it is little", () => {
    const [a, b] = [new Agent({ members: 20 }), new Agent({ self: 100 })];
    const told: MembershipOutput[] = [];
    a.link(id(100));
    b.link(id(0));
    const queue: [Agent, Agent, MembershipOutput[]][] = [
      [b, a, b.pass(40_000)],
      [a, b, a.pass(40_000)],
    ];
    for (let turn = queue.shift(); turn !== undefined; turn = queue.shift()) {
      const [from, to, outputs] = turn;
      if (from === a) told.push(...of(outputs, "broadcast"));
      for (const { peer, lane, bytes } of of(outputs, "send")) {
        if (peer === to.self && lane === Lane.gossip)
          queue.push([to, from, to.do({ type: "message", peer: from.self, lane, bytes })]);
      }
      if (queue.length === 0) told.push(...of(a.pass(500), "broadcast"));
    }
    expect(told).toContainEqual({ type: "broadcast", bytes: recordPayload(id(100)) });
  });

  test("is not broadcast by somebody who has just begun, for others may have too", () => {
    const [a, b] = [new Agent({ members: 20 }), new Agent({ self: 100 })];
    const log = converse(a, b, 2_000);
    expect(a.state(id(100))).toBe("alive");
    expect(log.map(({ type }) => type)).not.toContain("broadcast record");
  });

  test("is passed on by exchanges with the other links when it is much", () => {
    const [a, b] = [new Agent({ members: 300 }), new Agent({ self: 1_000 })];
    b.link(id(1), id(2));
    const before = b.machine.statistics().broadcasts;
    converse(a, b, 200);
    const out = b.pass(3_000);
    const digests = of(out, "send").filter(
      ({ lane, bytes }) => lane === Lane.gossip && decodeMessage(bytes, shelf)?.type === "digest",
    );
    expect(new Set(digests.map(({ peer }) => peer))).toEqual(new Set([id(0), id(1), id(2)]));
    expect(b.machine.statistics().broadcasts).toBe(before);
  });
});

test("a member into which records pour answers other exchanges later", () => {
  const [a, b] = [new Agent({ members: 300 }), new Agent({ self: 1_000 })];
  const other = new Agent({ self: 5, members: 30 });
  converse(a, b, 0);
  const opening = of(other.link(b.self), "send").concat(of(b.link(other.self), "send"));
  const digest = opening.find(({ peer, bytes }) => peer === b.self && decodeMessage(bytes, shelf)?.type === "digest");
  if (digest !== undefined) {
    const answer = b.do({ type: "message", peer: other.self, lane: Lane.gossip, bytes: digest.bytes });
    expect(of(answer, "send")).toEqual([]);
  }
  const later = of(b.pass(2_000), "send").filter(({ peer, lane }) => peer === other.self && lane === Lane.gossip);
  expect(later.length).toBeGreaterThan(0);
});

test("a newcomer with eight links gets a long list once", () => {
  const newcomer = new Agent({ self: 1_000 });
  const peers = Array.from({ length: 8 }, (_, index) => new Agent({ self: index + 1, members: 300 }));
  const byId = new Map([newcomer, ...peers].map((agent) => [agent.self, agent]));
  let carried = 0;
  const carry = (from: Agent, outputs: readonly MembershipOutput[]): void => {
    for (const { peer, lane, bytes } of of(outputs, "send")) {
      const to = byId.get(peer);
      const message = lane === Lane.gossip ? decodeMessage(bytes, shelf) : undefined;
      if (to === undefined || message === undefined) continue;
      if (to === newcomer && message.type === "records") carried += message.records.length;
      carry(to, to.do({ type: "message", peer: from.self, lane, bytes }));
    }
  };
  const openings = peers.map((peer) => [peer, newcomer.link(peer.self), peer.link(newcomer.self)] as const);
  for (const [peer, ofNewcomer, ofPeer] of openings) {
    carry(newcomer, ofNewcomer);
    carry(peer, ofPeer);
  }
  for (let passed = 0; passed < 3_000; passed += 50) for (const agent of byId.values()) carry(agent, agent.pass(50));
  expect(held(newcomer)).toEqual(held(peers[0] as Agent));
  expect(carried).toBeGreaterThanOrEqual(300);
  expect(carried).toBeLessThanOrEqual(310);
});

test("records reach the same list whatever their order, and twice is once", () => {
  const payloads = [1, 2, 3, 4].flatMap((number) => [
    recordPayload(id(number)),
    recordPayload(id(number), { incarnation: 1 }),
    recordPayload(id(number), { incarnation: 1, status: "left" }),
    recordPayload(id(number), { boot: 2 }),
  ]);
  const lists = [1, 2, 3].map((seed) => {
    const agent = new Agent();
    for (const bytes of shuffle(new SeededRandom(seed), [...payloads, ...payloads])) agent.deliver(bytes);
    return held(agent);
  });
  expect(lists[0]).toEqual(lists[1]);
  expect(lists[1]).toEqual(lists[2]);
});

test("an exchange every half minute or so finds what broadcast has lost", () => {
  const [a, b] = [new Agent({ members: 3 }), new Agent({ self: 1 })];
  for (const number of [0, 2, 3]) b.deliver(recordPayload(id(number)));
  converse(a, b, 100);
  const out = b.deliver(recordPayload(id(7)));
  expect(events(out)).toEqual(["unknown -> up (record)"]);
  converse(a, b, 46_000);
  expect(a.state(id(7))).toBeDefined();
});
