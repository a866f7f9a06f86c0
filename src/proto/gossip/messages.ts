import { sha256 } from "../hash.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, flag, integer } from "../wire/shape.ts";
import { MAX_BROADCAST_BYTES, MAX_HOPS, MAX_IDS_PER_MESSAGE } from "./limits.ts";

/**
 * What broadcast neighbours say to each other on the gossip lane: msgpack arrays that begin with a kind from 64 up
 * (membership uses the kinds below on the same lane).
 *
 *     [64, route, hops, topic, payload]   a payload, pushed or as the answer to a graft
 *     [65, announcements]                 IHave: 17 bytes each: id, its age at the sender and whether its tree is its publisher's own
 *     [66, ids, wanted]                   graft: push to us from here on; `wanted`: and send these payloads
 *     [67, tree]                          prune: announce to us instead of pushing, in this tree
 *
 * Lists of ids travel as one byte string, so that an announcement of 512 costs one value to scan and none to allocate.
 */
export const BroadcastKind = { payload: 64, announce: 65, graft: 66, prune: 67 } as const;

/** The lowest kind that is broadcast's on the gossip lane. */
export const FIRST_BROADCAST_KIND = 64;

/** What may be broadcast, and who is asked for the verdict on it. */
export const Topic = { membership: 0, replication: 1, application: 2, decrees: 3 } as const;

export type Topic = (typeof Topic)[keyof typeof Topic];

declare const messageId: unique symbol;

/**
 * The name of a broadcast: the first 16 bytes of SHA-256 over payload and topic, one character per byte. It does not
 * depend on who publishes, so two members who publish the same bytes make one broadcast. Opaque; never printed.
 */
export type MessageId = string & { readonly [messageId]: true };

/**
 * How a broadcast travels, chosen by its publisher: 30 bits that tell publishers apart, {@link OWN_TREE} when it follows
 * the publisher's own tree, {@link REBUILD} when it goes over all links to lay the shared tree anew. A wrong route costs
 * speed, never correctness.
 */
export type Route = number;

export const OWN_TREE = 1;
export const REBUILD = 2;

/** The tree that all publishers share who have none of their own. */
export const SHARED_TREE = 0;

/** The tree that a broadcast of this route follows: the publisher's own, or the shared one. */
export function treeOf(route: Route): number {
  return (route & OWN_TREE) === OWN_TREE ? (route & ~REBUILD) >>> 0 : SHARED_TREE;
}

/** One item of an IHave. */
export interface Announcement {
  readonly id: MessageId;
  /** How long the announcer has had it, ms, in steps of {@link AGE_STEP_MS}, 1,016 at most. */
  readonly ageMs: number;
  /** Whether it follows its publisher's own tree, so that it will not be late. */
  readonly own: boolean;
}

export type BroadcastMessage =
  | {
      readonly type: "payload";
      readonly route: Route;
      readonly hops: number;
      readonly topic: Topic;
      readonly payload: Uint8Array;
    }
  | { readonly type: "announce"; readonly announcements: readonly Announcement[] }
  | { readonly type: "graft"; readonly ids: readonly MessageId[]; readonly wanted: boolean }
  | { readonly type: "prune"; readonly tree: number };

const ID_BYTES = 16;
const ANNOUNCEMENT_BYTES = ID_BYTES + 1;
/** The unit of an age on the wire, ms. */
export const AGE_STEP_MS = 8;
const MAX_U32 = 0xffff_ffff;

// One payload with its topic behind it: hashing needs them in one piece, and a copy per message would be garbage.
const hashed = new Uint8Array(MAX_BROADCAST_BYTES + 1);

/** The id of `payload` (64 KiB at most) under `topic`. */
export function messageIdOf(topic: Topic, payload: Uint8Array): MessageId {
  hashed.set(payload);
  hashed[payload.length] = topic;
  return idAt(sha256(hashed.subarray(0, payload.length + 1)), 0);
}

export function encodePayload(route: Route, hops: number, topic: Topic, payload: Uint8Array): Uint8Array {
  return encode([BroadcastKind.payload, route, hops, topic, payload]);
}

/** Encodes an IHave of at most 512 announcements. */
export function encodeAnnounce(announcements: readonly Announcement[]): Uint8Array {
  const packed = new Uint8Array(announcements.length * ANNOUNCEMENT_BYTES);
  let offset = 0;
  for (const { id, ageMs, own } of announcements) {
    putId(packed, offset, id);
    packed[offset + ID_BYTES] = Math.min(127, Math.floor(ageMs / AGE_STEP_MS)) | (own ? 128 : 0);
    offset += ANNOUNCEMENT_BYTES;
  }
  return encode([BroadcastKind.announce, packed]);
}

/** Encodes a graft of at most 512 ids. */
export function encodeGraft(ids: readonly MessageId[], wanted: boolean): Uint8Array {
  const packed = new Uint8Array(ids.length * ID_BYTES);
  let offset = 0;
  for (const id of ids) {
    putId(packed, offset, id);
    offset += ID_BYTES;
  }
  return encode([BroadcastKind.graft, packed, wanted]);
}

export function encodePrune(tree: number): Uint8Array {
  return encode([BroadcastKind.prune, tree]);
}

/** Decodes one message; `oversized` and `malformed` are the sender's fault. Payloads are views of `message`. */
export function decodeBroadcast(message: Uint8Array): BroadcastMessage | "malformed" | "oversized" {
  const decoded = decode(message, SCAN_LIMITS);
  if (!decoded.ok || !Array.isArray(decoded.value)) return "malformed";
  const items = decoded.value as readonly WireValue[];
  switch (items[0]) {
    case BroadcastKind.payload:
      return items.length === 5 ? readPayload(items) : "malformed";
    case BroadcastKind.announce:
      return (items.length === 2 ? readAnnounce(items) : undefined) ?? "malformed";
    case BroadcastKind.graft:
      return (items.length === 3 ? readGraft(items) : undefined) ?? "malformed";
    case BroadcastKind.prune: {
      const tree = items.length === 2 ? integer(items[1], 0, MAX_U32) : undefined;
      return tree === undefined || treeOf(tree) !== tree ? "malformed" : { type: "prune", tree };
    }
    default:
      return "malformed";
  }
}

/** One flat array of five values is the largest message. */
const SCAN_LIMITS = { depth: 1, items: 6 };

function readPayload(items: readonly WireValue[]): BroadcastMessage | "malformed" | "oversized" {
  const route = integer(items[1], 0, MAX_U32);
  const hops = integer(items[2], 1, MAX_HOPS);
  const topic = integer(items[3], 0, Topic.decrees);
  const payload = items[4];
  if (route === undefined || hops === undefined || topic === undefined) return "malformed";
  // Only the shared tree is ever rebuilt.
  if ((route & OWN_TREE) !== 0 && (route & REBUILD) !== 0) return "malformed";
  if (!(payload instanceof Uint8Array)) return "malformed";
  if (payload.length > MAX_BROADCAST_BYTES) return "oversized";
  return { type: "payload", route, hops, topic: topic as Topic, payload };
}

function readAnnounce(items: readonly WireValue[]): BroadcastMessage | undefined {
  const packed = bytes(items[1], MAX_IDS_PER_MESSAGE * ANNOUNCEMENT_BYTES);
  if (packed === undefined || packed.length === 0 || packed.length % ANNOUNCEMENT_BYTES !== 0) return undefined;
  const announcements: Announcement[] = [];
  for (let offset = 0; offset < packed.length; offset += ANNOUNCEMENT_BYTES) {
    announcements.push({
      id: idAt(packed, offset),
      ageMs: ((packed[offset + ID_BYTES] as number) & 127) * AGE_STEP_MS,
      own: ((packed[offset + ID_BYTES] as number) & 128) !== 0,
    });
  }
  return { type: "announce", announcements };
}

function readGraft(items: readonly WireValue[]): BroadcastMessage | undefined {
  const packed = bytes(items[1], MAX_IDS_PER_MESSAGE * ID_BYTES);
  const wanted = flag(items[2]);
  if (packed === undefined || wanted === undefined) return undefined;
  if (packed.length === 0 || packed.length % ID_BYTES !== 0) return undefined;
  const ids: MessageId[] = [];
  for (let offset = 0; offset < packed.length; offset += ID_BYTES) ids.push(idAt(packed, offset));
  return { type: "graft", ids, wanted };
}

function idAt(source: Uint8Array, offset: number): MessageId {
  // Sixteen literal arguments: a spread or a loop of concatenations costs five times as much, and this runs per message.
  return String.fromCharCode(
    source[offset] as number,
    source[offset + 1] as number,
    source[offset + 2] as number,
    source[offset + 3] as number,
    source[offset + 4] as number,
    source[offset + 5] as number,
    source[offset + 6] as number,
    source[offset + 7] as number,
    source[offset + 8] as number,
    source[offset + 9] as number,
    source[offset + 10] as number,
    source[offset + 11] as number,
    source[offset + 12] as number,
    source[offset + 13] as number,
    source[offset + 14] as number,
    source[offset + 15] as number,
  ) as MessageId;
}

function putId(target: Uint8Array, offset: number, id: MessageId): void {
  for (let index = 0; index < ID_BYTES; index++) target[offset + index] = id.charCodeAt(index);
}
