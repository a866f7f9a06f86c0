import { expect, test } from "vitest";
import {
  encodeAnnounce,
  encodeGraft,
  encodePayload,
  encodePrune,
  messageIdOf,
  REBUILD,
  SHARED_TREE,
  Topic,
} from "../../../src/proto/gossip/messages.ts";
import { A, B, C, Member, NOW, peer } from "./peers.ts";

const topic = Topic.membership;
const payload = Uint8Array.of(7, 7, 7);
const id = messageIdOf(topic, payload);
/** The route of an occasional publisher, and of one with a tree of its own. */
const ROUTE = 0x100;
const OWN = 0x201;

const pushed = (hops = 1, route = ROUTE): Uint8Array => encodePayload(route, hops, topic, payload);
const announced = (ageMs = 0, own = false): Uint8Array => encodeAnnounce([{ id, ageMs, own }]);
const accept = { type: "verdict", id, verdict: "accept" } as const;
const delivered = { type: "deliver", topic, payload, id, from: A, hops: 1 };
const prune = (tree = SHARED_TREE) => ({ type: "prune", tree });

test("what is published goes to every neighbour, and comes back to nobody", () => {
  const member = new Member(A, B);
  // The first of an occasional publisher rebuilds the shared tree; the route is the head of the member's key.
  const message = { type: "payload", route: 0x01010100 + REBUILD, hops: 1, topic, payload };
  expect(member.input({ type: "publish", topic, payload })).toEqual([
    { type: "send", peer: A, message },
    { type: "send", peer: B, message },
  ]);
  expect(member.input({ type: "publish", topic, payload })).toEqual([]);
  expect(member.broadcast.deadline()).toBeUndefined();
});

test("a payload is delivered at once, and forwarded only when its consumer accepts it", () => {
  const member = new Member(A, B);
  expect(member.message(A, pushed())).toEqual([delivered]);
  expect(member.input(accept)).toEqual([
    { type: "send", peer: B, message: { type: "payload", route: ROUTE, hops: 2, topic, payload } },
  ]);
  expect(member.input(accept)).toEqual([]);
});

test("an ignored payload ends here, and nobody is blamed", () => {
  const member = new Member(A, B);
  member.message(A, pushed());
  expect(member.input({ ...accept, verdict: "ignore" })).toEqual([]);
  expect(member.message(B, encodeGraft([id], true))).toEqual([]);
  expect(member.up(C)).toEqual([]);
});

test("a rejected payload is the fault of its sender, and of everybody who sends it later", () => {
  const member = new Member(A, B);
  member.message(A, pushed());
  expect(member.input({ ...accept, verdict: "reject" })).toEqual([{ type: "fault", peer: A, fault: "rejected" }]);
  expect(member.message(B, pushed())).toEqual([{ type: "fault", peer: B, fault: "rejected" }]);
  expect(member.input(accept)).toEqual([]);
});

test("a rejected payload is not blamed on the peer that took the place of its sender", () => {
  const member = new Member(A);
  member.message(A, pushed());
  member.down(A);
  member.up(C);
  expect(member.input({ ...accept, verdict: "reject" })).toEqual([]);
});

test("a duplicate prunes its link, which then gets announcements only", () => {
  const member = new Member(A, B, C);
  member.message(A, pushed());
  expect(member.message(B, pushed())).toEqual([{ type: "send", peer: B, message: prune() }]);
  // B has it, so that only C is left; the next payload goes to B as an announcement.
  expect(member.input(accept)).toMatchObject([{ type: "send", peer: C }]);
  const next = Uint8Array.of(8);
  const nextId = messageIdOf(topic, next);
  member.message(A, encodePayload(ROUTE, 1, topic, next), NOW + 5);
  expect(member.input({ ...accept, id: nextId }, NOW + 5)).toMatchObject([{ type: "send", peer: C }]);
  expect(member.broadcast.deadline()).toBe(NOW + 25);
  expect(member.timeout(NOW + 25)).toEqual([
    {
      type: "send",
      peer: B,
      message: { type: "announce", announcements: [{ id: nextId, ageMs: 16, own: false }] },
    },
  ]);
  expect(member.broadcast.deadline()).toBeUndefined();
});

test("the same content from another publisher does not prune the link on which the two waves meet", () => {
  const member = new Member(A, B);
  member.message(A, pushed(1, ROUTE));
  expect(member.message(B, pushed(1, 0x300))).toEqual([]);
});

test("a second copy from the neighbour that brought the first does not cut the branch", () => {
  const member = new Member(A, B);
  member.message(A, pushed());
  expect(member.message(A, pushed())).toEqual([]);
});

test("a pruned link is lazy in its own tree only", () => {
  const member = new Member(A, B);
  member.message(B, encodePrune(OWN));
  member.message(A, pushed(1, OWN));
  expect(member.input(accept)).toEqual([]);
  const other = Uint8Array.of(9);
  member.message(A, encodePayload(ROUTE, 1, topic, other));
  expect(member.input({ ...accept, id: messageIdOf(topic, other) })).toMatchObject([{ type: "send", peer: B }]);
});

test("an announced payload that does not come is asked of each announcer in turn", () => {
  const member = new Member(A, B);
  member.message(A, announced());
  member.message(B, announced(), NOW + 1);
  const asked = member.broadcast.deadline() as number;
  // Twice the round trip and more: the shared tree may be slow.
  expect(asked).toBeGreaterThanOrEqual(NOW + 140);
  expect(asked).toBeLessThanOrEqual(NOW + 190);
  const graft = { type: "graft", ids: [id], wanted: true };
  expect(member.timeout(asked)).toEqual([{ type: "send", peer: A, message: graft }]);
  expect(member.broadcast.deadline()).toBe(asked + 200);
  expect(member.timeout(asked + 200)).toEqual([{ type: "send", peer: B, message: graft }]);
  expect(member.timeout(asked + 400)).toEqual([]);
  expect(member.broadcast.deadline()).toBeUndefined();
});

test("a payload on its publisher's own tree is waited for less long", () => {
  const member = new Member(A);
  member.message(A, announced(0, true));
  expect(member.broadcast.deadline()).toBeLessThanOrEqual(NOW + 115);
});

test("a payload that comes in time is not asked for", () => {
  const member = new Member(A, B);
  member.message(B, announced());
  expect(member.message(A, pushed(), NOW + 10)).toEqual([delivered]);
  expect(member.broadcast.deadline()).toBeUndefined();
  // B has it already.
  expect(member.input(accept, NOW + 10)).toEqual([]);
});

test("when all announcers were asked in vain, a late one is asked at once", () => {
  const member = new Member(A, B);
  member.message(A, announced());
  const asked = member.broadcast.deadline() as number;
  member.timeout(asked);
  member.timeout(asked + 200);
  member.message(B, announced(), asked + 300);
  expect(member.broadcast.deadline()).toBe(asked + 300);
  expect(member.timeout(asked + 300)).toMatchObject([{ type: "send", peer: B, message: { type: "graft" } }]);
});

test("an announcer whose link went down is not asked", () => {
  const member = new Member(A, B);
  member.message(A, announced());
  member.message(B, announced());
  member.down(A);
  expect(member.timeout(NOW + 1_000)).toMatchObject([{ type: "send", peer: B, message: { type: "graft" } }]);
});

test("a graft is answered with the payload, once, and makes its link eager again", () => {
  const member = new Member(A, B);
  member.message(B, encodePrune(SHARED_TREE));
  member.message(A, pushed());
  member.input(accept);
  expect(member.message(B, encodeGraft([id], true))).toEqual([
    { type: "send", peer: B, message: { type: "payload", route: ROUTE, hops: 2, topic, payload } },
  ]);
  expect(member.message(B, encodeGraft([id], true))).toEqual([]);
  const next = Uint8Array.of(8);
  member.message(A, encodePayload(ROUTE, 1, topic, next));
  expect(member.input({ ...accept, id: messageIdOf(topic, next) })).toMatchObject([{ type: "send", peer: B }]);
});

test("a graft for an unaccepted or unknown payload is not answered", () => {
  const member = new Member(A, B);
  expect(member.message(B, encodeGraft([id], true))).toEqual([]);
  member.message(A, pushed());
  expect(member.message(B, encodeGraft([id], true))).toEqual([]);
});

test("an own tree bends towards an announcer that would have been earlier", () => {
  const member = new Member(A, B);
  // B had it for 40 ms when it said so, 5 ms before A's copy came: B's copy would have been here 45 ms ago.
  member.message(B, announced(40, true), NOW);
  expect(member.message(A, pushed(1, OWN), NOW + 5)).toEqual([
    { type: "send", peer: B, message: { type: "graft", ids: [id], wanted: false } },
    { type: "send", peer: A, message: prune(OWN) },
    delivered,
  ]);
});

test("neither the shared tree nor a gain within the jitter bends anything", () => {
  const shared = new Member(A, B);
  shared.message(B, announced(400), NOW);
  expect(shared.message(A, pushed(1, ROUTE), NOW + 50)).toEqual([delivered]);
  const jitter = new Member(A, B);
  jitter.message(B, announced(0, true), NOW);
  expect(jitter.message(A, pushed(1, OWN), NOW + 9)).toEqual([delivered]);
});

test("from the third publication within a minute a publisher has its own tree", () => {
  const member = new Member(A);
  const routeOf = (value: number, at: number, topic: Topic = Topic.application): unknown => {
    const [output] = member.input({ type: "publish", topic, payload: Uint8Array.of(value) }, at);
    return output?.type === "send" && output.message.type === "payload" ? output.message.route : undefined;
  };
  expect(routeOf(1, NOW)).toBe(0x01010102);
  expect(routeOf(2, NOW + 30_000)).toBe(0x01010100);
  expect(routeOf(3, NOW + 60_000)).toBe(0x01010101);
  expect(routeOf(4, NOW + 200_000)).toBe(0x01010100);
  // Ten minutes after the last rebuilding broadcast the next one rebuilds.
  expect(routeOf(5, NOW + 600_000)).toBe(0x01010102);
});

test("membership news follow the shared tree, however often there are some", () => {
  const member = new Member(A);
  for (let value = 1; value <= 9; value++) {
    const [output] = member.input(
      { type: "publish", topic: Topic.membership, payload: Uint8Array.of(value) },
      NOW + value,
    );
    expect(output).toMatchObject({ message: { route: value === 1 ? 0x01010102 : 0x01010100 } });
  }
});

test("a rebuilding broadcast makes lazy links eager, but a second one right after it changes no tree", () => {
  const member = new Member(A, B);
  member.message(B, encodePrune(SHARED_TREE));
  member.message(A, pushed(1, ROUTE + REBUILD));
  expect(member.input(accept)).toMatchObject([{ type: "send", peer: B }]);
  const second = Uint8Array.of(8);
  member.message(B, encodePrune(SHARED_TREE));
  member.message(A, encodePayload(0x300 + REBUILD, 1, topic, second), NOW + 100);
  expect(member.input({ ...accept, id: messageIdOf(topic, second) }, NOW + 100)).toEqual([]);
  expect(member.message(B, encodePayload(0x300 + REBUILD, 1, topic, second), NOW + 100)).toEqual([]);
});

test("a new link is told of the payloads of the last ten seconds, and is eager", () => {
  const member = new Member(A);
  member.message(A, pushed());
  member.input(accept);
  const announcements = [{ id, ageMs: 1_016, own: false }];
  expect(member.up(B, NOW + 9_000)).toEqual([{ type: "send", peer: B, message: { type: "announce", announcements } }]);
  expect(member.up(C, NOW + 11_000)).toEqual([]);
  const next = Uint8Array.of(8);
  member.message(A, encodePayload(ROUTE, 1, topic, next), NOW + 11_000);
  expect(member.input({ ...accept, id: messageIdOf(topic, next) }, NOW + 11_000)).toHaveLength(2);
});

test("a new link is told of the newest of each topic, however much there is of another", () => {
  const member = new Member();
  member.input({ type: "publish", topic: Topic.application, payload });
  const storm = Array.from({ length: 200 }, (_, number) => Uint8Array.of(number));
  for (const each of storm) member.input({ type: "publish", topic: Topic.membership, payload: each });
  const told = member.up(B).flatMap((output) => {
    const { message } = output as { message: { announcements: readonly { id: string }[] } };
    return message.announcements.map((announcement) => announcement.id);
  });
  expect(told).toContain(messageIdOf(Topic.application, payload));
  expect(told).toContain(messageIdOf(Topic.membership, storm[199] as Uint8Array));
  expect(told).not.toContain(messageIdOf(Topic.membership, storm[71] as Uint8Array));
  expect(told).toHaveLength(129);
});

test("a peer that reconnects starts afresh", () => {
  const member = new Member(A, B);
  member.message(B, encodePrune(SHARED_TREE));
  member.up(B);
  member.message(A, pushed());
  expect(member.input(accept)).toMatchObject([{ type: "send", peer: B, message: { type: "payload" } }]);
});

test("publishing what a neighbour has just brought accepts it", () => {
  const member = new Member(A, B);
  member.message(A, pushed());
  expect(member.input({ type: "publish", topic, payload })).toMatchObject([{ type: "send", peer: B }]);
  expect(member.input(accept)).toEqual([]);
});

test("a copy that has crossed 255 links is delivered and goes no further", () => {
  const member = new Member(A, B);
  expect(member.message(A, pushed(255))).toEqual([{ ...delivered, hops: 255 }]);
  expect(member.input(accept)).toEqual([]);
  expect(member.broadcast.deadline()).toBeUndefined();
  expect(member.up(C)).toEqual([]);
});

test("what does not decode is the sender's fault, and a stranger's message is ignored", () => {
  const member = new Member(A);
  expect(member.message(A, Uint8Array.of(0x93, 64))).toEqual([{ type: "fault", peer: A, fault: "malformed" }]);
  const large = encodePayload(ROUTE, 1, topic, new Uint8Array(65_537));
  expect(member.message(A, large)).toEqual([{ type: "fault", peer: A, fault: "oversized" }]);
  expect(member.message(peer(99), pushed())).toEqual([]);
});

test("publishing more than 64 KiB is our own mistake", () => {
  const member = new Member(A);
  expect(() => member.input({ type: "publish", topic, payload: new Uint8Array(65_537) })).toThrow("64 KiB");
});
