import { expect, test } from "vitest";
import {
  decodeBroadcast,
  encodeAnnounce,
  encodeGraft,
  encodePayload,
  encodePrune,
  type MessageId,
  messageIdOf,
  OWN_TREE,
  REBUILD,
  Topic,
  treeOf,
} from "../../../src/proto/gossip/messages.ts";
import { sha256 } from "../../../src/proto/hash.ts";
import { encode } from "../../../src/proto/wire/codec.ts";

const payload = Uint8Array.of(1, 2, 3);
const id = messageIdOf(Topic.replication, payload);

test("an id is the first 16 bytes of SHA-256 over the payload and its topic", () => {
  const digest = sha256(Uint8Array.of(1, 2, 3, 1)).subarray(0, 16);
  expect(Uint8Array.from(id, (character) => character.charCodeAt(0))).toEqual(digest);
  expect(messageIdOf(Topic.membership, payload)).not.toBe(id);
});

test("a payload message is an array of kind 64, route, hops, topic and payload", () => {
  expect([...encodePayload(0x80000004, 2, Topic.replication, payload)]).toEqual([
    0x95, 64, 0xce, 0x80, 0, 0, 4, 2, 1, 0xc4, 3, 1, 2, 3,
  ]);
});

test("every message decodes to what was encoded", () => {
  const announcements = [
    { id, ageMs: 16, own: true },
    { id: messageIdOf(Topic.application, payload), ageMs: 0, own: false },
  ];
  const ids = announcements.map((announcement) => announcement.id);
  expect(decodeBroadcast(encodePayload(0xfffffffd, 255, Topic.application, payload))).toEqual({
    type: "payload",
    route: 0xfffffffd,
    hops: 255,
    topic: Topic.application,
    payload,
  });
  expect(decodeBroadcast(encodeAnnounce(announcements))).toEqual({ type: "announce", announcements });
  expect(decodeBroadcast(encodeGraft(ids, true))).toEqual({ type: "graft", ids, wanted: true });
  expect(decodeBroadcast(encodePrune(0xfffffffd))).toEqual({ type: "prune", tree: 0xfffffffd });
});

test("an age is told in steps of 8 ms and at most as 1,016 ms", () => {
  const told = (ageMs: number): unknown => decodeBroadcast(encodeAnnounce([{ id, ageMs, own: false }]));
  expect(told(15)).toMatchObject({ announcements: [{ ageMs: 8 }] });
  expect(told(60_000)).toMatchObject({ announcements: [{ ageMs: 1_016 }] });
});

test("only a route with the mark of its publisher's own tree leaves the shared tree", () => {
  expect(treeOf(0x80000004)).toBe(0);
  expect(treeOf(0x80000004 + REBUILD)).toBe(0);
  expect(treeOf(0x80000004 + OWN_TREE)).toBe(0x80000005);
});

test.each([
  ["nothing", new Uint8Array(0)],
  ["no array", encode(64)],
  ["another module's kind", encode([7, 1])],
  ["a missing item", encode([64, 4, 1, 0])],
  ["an item too many", encode([64, 4, 1, 0, payload, 0])],
  ["a payload that is text", encode([64, 4, 1, 0, "payload"])],
  ["an unknown topic", encode([64, 4, 1, 4, payload])],
  ["no hops", encode([64, 4, 0, 0, payload])],
  ["a route that both follows an own tree and rebuilds", encode([64, 3, 1, 0, payload])],
  ["no announcement", encode([65, new Uint8Array(0)])],
  ["half an announcement", encode([65, new Uint8Array(27)])],
  ["513 announcements", encode([65, new Uint8Array(513 * 17)])],
  ["half an id", encode([66, new Uint8Array(24), true])],
  ["513 ids", encode([66, new Uint8Array(513 * 16), true])],
  ["a prune of no tree", encode([67, 6])],
  ["an array in an array", encode([67, [0]])],
])("%s is malformed", (_, bytes) => {
  expect(decodeBroadcast(bytes)).toBe("malformed");
});

test("a payload of 64 KiB is the largest", () => {
  const most = new Uint8Array(65_536);
  expect(decodeBroadcast(encodePayload(4, 1, Topic.application, most))).toMatchObject({ type: "payload" });
  expect(decodeBroadcast(encode([64, 4, 1, 2, new Uint8Array(65_537)]))).toBe("oversized");
});

test("an id survives bytes above 127", () => {
  const high = String.fromCharCode(...Array.from({ length: 16 }, (_, index) => 240 + index)) as MessageId;
  expect(decodeBroadcast(encodeGraft([high], false))).toEqual({ type: "graft", ids: [high], wanted: false });
});
