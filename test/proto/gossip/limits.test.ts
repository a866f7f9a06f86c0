import { expect, test } from "vitest";
import {
  encodeAnnounce,
  encodeGraft,
  encodePayload,
  encodePrune,
  type MessageId,
  messageIdOf,
  SHARED_TREE,
  Topic,
} from "../../../src/proto/gossip/messages.ts";
import { A, B, C, Member, NOW, peer } from "./peers.ts";

const topic = Topic.application;
const ROUTE = 0x100;

/** A payload of this many bytes that is different for each number. */
function payloadOf(number: number, bytes = 8): Uint8Array {
  const payload = new Uint8Array(bytes);
  new DataView(payload.buffer).setUint32(0, number);
  return payload;
}

function idOf(number: number, bytes = 8): MessageId {
  return messageIdOf(topic, payloadOf(number, bytes));
}

/** Has `member` receive and accept a payload from A. */
function receive(member: Member, number: number, now: number, bytes = 8): ReturnType<Member["input"]> {
  const payload = payloadOf(number, bytes);
  member.message(A, encodePayload(ROUTE, 1, topic, payload), now);
  return member.input({ type: "verdict", id: messageIdOf(topic, payload), verdict: "accept" }, now);
}

function announce(from: number, count: number): Uint8Array {
  return encodeAnnounce(
    Array.from({ length: count }, (_, index) => ({ id: idOf(from + index), ageMs: 0, own: false })),
  );
}

test("a neighbour past its message rate is ignored and reported once a second", () => {
  const member = new Member(A);
  for (let count = 0; count < 10_000; count++) expect(member.message(A, encodePrune(SHARED_TREE))).toEqual([]);
  expect(member.message(A, encodePrune(SHARED_TREE))).toEqual([{ type: "fault", peer: A, fault: "flood" }]);
  expect(member.message(A, encodePayload(ROUTE, 1, topic, payloadOf(1)))).toEqual([]);
  // 5,000 a second come back.
  expect(member.message(A, encodePayload(ROUTE, 1, topic, payloadOf(1)), NOW + 10)).toHaveLength(1);
});

test("a neighbour past its byte rate is ignored and reported", () => {
  const member = new Member(A);
  let accepted = 0;
  let faults = 0;
  for (let number = 0; number < 1_000; number++) {
    for (const output of member.message(A, encodePayload(ROUTE, 1, topic, payloadOf(number, 65_536)))) {
      if (output.type === "deliver") accepted++;
      else faults++;
    }
  }
  expect(accepted).toBe(511);
  expect(faults).toBe(1);
});

test("payloads past the rate of a neighbour are announced to it instead of pushed", () => {
  const member = new Member(A, B);
  let pushed = 0;
  let announced = 0;
  for (let number = 0; number < 600; number++) {
    const payload = payloadOf(number, 65_536);
    for (const output of member.input({ type: "publish", topic, payload })) {
      if (output.type === "send" && output.message.type === "payload" && output.peer === B) pushed++;
    }
  }
  for (const output of member.timeout(NOW + 20)) {
    if (output.type === "send" && output.peer === B && output.message.type === "announce") {
      announced += output.message.announcements.length;
    }
  }
  // Three quarters of what B accepts at once; of the others those are announced that are still held.
  expect(pushed).toBe(384);
  expect(announced).toBe(64);
});

test("announced ids that never come fill the share of their announcer, and expire", () => {
  const member = new Member(A, B);
  for (let from = 0; from < 2_048; from += 512) member.message(A, announce(from, 512));
  expect(member.broadcast.load().missing).toBe(1_024);
  member.message(B, announce(5_000, 512));
  expect(member.broadcast.load().missing).toBe(1_536);
  member.message(A, announce(9_000, 1), NOW + 29_000);
  expect(member.broadcast.load().missing).toBe(1_536);
  member.message(B, announce(9_001, 1), NOW + 30_000);
  expect(member.broadcast.load().missing).toBe(1);
  member.message(A, announce(9_002, 1), NOW + 30_000);
  expect(member.broadcast.load().missing).toBe(2);
});

test("at most 4,096 ids are missing, the newest", () => {
  const neighbours = Array.from({ length: 6 }, (_, index) => peer(20 + index));
  const member = new Member(...neighbours);
  neighbours.forEach((neighbour, index) => {
    for (let part = 0; part < 2; part++) member.message(neighbour, announce(index * 1_024 + part * 512, 512));
  });
  expect(member.broadcast.load().missing).toBe(4_096);
});

test("grafts for many ids are split into messages of 512", () => {
  const member = new Member(A);
  for (let from = 0; from < 1_024; from += 512) member.message(A, announce(from, 512));
  const sizes = member.timeout(NOW + 1_000).map((output) => {
    return output.type === "send" && output.message.type === "graft" ? output.message.ids.length : 0;
  });
  expect(sizes).toEqual([512, 512]);
});

test("the 512th announcement of a batch sends it at once", () => {
  const member = new Member(A, B);
  member.message(B, encodePrune(SHARED_TREE));
  for (let number = 0; number < 511; number++) expect(receive(member, number, NOW)).toEqual([]);
  const [output] = receive(member, 511, NOW);
  expect(output).toMatchObject({ type: "send", peer: B, message: { type: "announce" } });
  expect(member.broadcast.deadline()).toBeUndefined();
});

test("payloads are kept for grafts for 30 s and 4 MiB, the newest", () => {
  const member = new Member(A, B);
  member.message(B, encodePrune(SHARED_TREE));
  for (let number = 0; number < 65; number++) receive(member, number, NOW, 65_536);
  expect(member.broadcast.load()).toMatchObject({ heldBytes: 4_194_304, seen: 65 });
  expect(member.message(B, encodeGraft([idOf(0, 65_536)], true))).toEqual([]);
  expect(member.message(B, encodeGraft([idOf(1, 65_536)], true))).toHaveLength(1);
  receive(member, 100, NOW + 30_000);
  expect(member.broadcast.load().heldBytes).toBe(8);
  expect(member.message(B, encodeGraft([idOf(2, 65_536)], true), NOW + 30_000)).toEqual([]);
});

test("a verdict after 30 s comes too late", () => {
  const member = new Member(A, B);
  member.message(A, encodePayload(ROUTE, 1, topic, payloadOf(1)));
  receive(member, 2, NOW + 30_000);
  expect(member.input({ type: "verdict", id: idOf(1), verdict: "accept" }, NOW + 30_001)).toEqual([]);
});

test("an id is remembered for five minutes, and 32,768 of them at most", () => {
  const member = new Member(A, B);
  receive(member, 1, NOW);
  const again = encodePayload(ROUTE, 1, topic, payloadOf(1));
  receive(member, 2, NOW + 299_999);
  expect(member.message(A, again, NOW + 299_999)).toEqual([]);
  receive(member, 3, NOW + 300_000);
  expect(member.message(A, again, NOW + 300_000)).toMatchObject([{ type: "deliver" }]);
  for (let number = 10; number < 33_010; number++) receive(member, number, NOW + 300_000 + number);
  expect(member.broadcast.load().seen).toBe(32_768);
});

test("an announcement that is kept for a new link names 128 payloads at most", () => {
  const member = new Member(A);
  for (let number = 0; number < 200; number++) receive(member, number, NOW);
  const [output] = member.up(C, NOW + 1);
  const ids =
    output?.type === "send" && output.message.type === "announce"
      ? output.message.announcements.map(({ id }) => id)
      : [];
  expect(ids).toEqual(Array.from({ length: 128 }, (_, index) => idOf(72 + index)));
});

test("the 65th neighbour gets announcements only, and takes part in everything else", () => {
  const neighbours = Array.from({ length: 64 }, (_, index) => peer(100 + index));
  const member = new Member(A, ...neighbours.slice(0, 63), B);
  const outputs = receive(member, 1, NOW);
  expect(outputs).toHaveLength(63);
  expect(member.timeout(NOW + 20)).toMatchObject([{ type: "send", peer: B, message: { type: "announce" } }]);
  expect(member.message(B, encodeGraft([idOf(1)], true))).toMatchObject([{ type: "send", peer: B }]);
  expect(member.message(B, encodePayload(ROUTE, 1, topic, payloadOf(2)))).toMatchObject([{ type: "deliver", from: B }]);
});

test("an announcer that is back counts again, however often its link broke", () => {
  const member = new Member(A);
  for (let time = 0; time < 20; time++) {
    member.message(A, announce(1, 1));
    member.down(A);
    member.up(A);
  }
  member.message(A, announce(1, 1));
  expect(member.timeout(NOW + 1_000)).toMatchObject([{ type: "send", peer: A, message: { type: "graft" } }]);
});

test("a small payload from a large buffer is kept as a copy", () => {
  const member = new Member(A);
  const frame = new Uint8Array(16_384);
  const message = encodePayload(ROUTE, 1, topic, payloadOf(1));
  frame.set(message, 100);
  const [output] = member.message(A, frame.subarray(100, 100 + message.length));
  expect(output?.type === "deliver" && output.payload.buffer.byteLength).toBe(8);
});

test("announcements to a neighbour keep their distance: what comes soon after one waits for the next", () => {
  const member = new Member(A, B);
  member.message(B, encodePrune(SHARED_TREE));
  receive(member, 1, NOW);
  expect(member.timeout(NOW + 20)).toMatchObject([{ peer: B, message: { announcements: [{ id: idOf(1) }] } }]);
  receive(member, 2, NOW + 30);
  receive(member, 3, NOW + 90);
  expect(member.broadcast.deadline()).toBe(NOW + 120);
  const both = { announcements: [{ id: idOf(2) }, { id: idOf(3) }] };
  expect(member.timeout(NOW + 120)).toMatchObject([{ peer: B, message: both }]);
  receive(member, 4, NOW + 500);
  expect(member.broadcast.deadline()).toBe(NOW + 520);
});
