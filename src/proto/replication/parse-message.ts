import { MAX_MESSAGE_DEPTH, MAX_MESSAGE_ITEMS, MAX_TOKEN_LENGTH } from "../limits.ts";
import { decode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, flag, integer, list, peer, text, tuple } from "../wire/shape.ts";
import { type Parcel, type ParcelFault, parseParcel } from "./batch.ts";
import { isBucketName } from "./entry.ts";
import {
  DEFAULT_QUOTAS,
  FRAGMENT_BYTES,
  MAX_ENTRIES_ITEMS,
  MAX_HELD_PER_REQUEST,
  MAX_KEY_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_TOKENS_PER_REQUEST,
  MAX_VALUE_BYTES,
  MAX_WANTED_PER_REQUEST,
  REMOTE_HEADROOM,
} from "./limits.ts";
import {
  type FragmentWish,
  type Group,
  type HeldItem,
  Kind,
  RESERVATION_STATES,
  type ReplicationMessage,
  type ReservationWish,
  VIEW_BYTES,
} from "./messages.ts";
import { FINGERPRINT_BYTES, ROOT_BYTES, SALT_BYTES } from "./sum.ts";
import { ID_BYTES, unpackIds, type VersionId } from "./version-id.ts";
import { SLOTS_BYTES } from "./versions.ts";

/**
 * Parsing of the messages in `messages.ts`: from bytes that anybody may have written to values whose every field has
 * been checked. What a message may contain at most is decided here, before anything is looked up or hashed on its
 * behalf.
 */

const LIMITS = { depth: MAX_MESSAGE_DEPTH, items: MAX_MESSAGE_ITEMS };

/** The largest list of buckets: what a replica may hold of remote ones. */
const MAX_BUCKETS_LISTED = DEFAULT_QUOTAS.buckets * REMOTE_HEADROOM;

/** Parcels in one answer, each of 16 values at least. */
const MAX_PARCELS = MAX_ENTRIES_ITEMS / 16;

/** Parses a message; a fault when it is not exactly one of the kinds above. Never throws. */
export function decodeMessage(encoded: Uint8Array): ReplicationMessage | ParcelFault {
  const decoded = decode(encoded, LIMITS);
  if (!decoded.ok || !Array.isArray(decoded.value)) return "malformed";
  const fields = decoded.value as readonly WireValue[];
  const kind = fields[0];
  if (typeof kind !== "number" || fields.length !== FIELDS[kind]) return "malformed";
  if (kind === Kind.batch) return batchMessage(fields);
  if (kind === Kind.entries) return entriesMessage(fields);
  if (kind >= Kind.survey) return survey(kind, fields) ?? "malformed";
  if (kind >= Kind.reserve) return reservation(kind, fields) ?? "malformed";
  return (kind <= Kind.reconcile ? comparison(kind, fields) : transfer(kind, fields)) ?? "malformed";
}

/** Items of the array, the kind included, by kind. */
const FIELDS: readonly number[] = [3, 2, 4, 3, 3, 3, 3, 4, 2, 3, 3, 6, 3, 2, 2, 4, 3, 4, 4, 8, 4, 4, 4, 3];

function seqOf(value: WireValue | undefined): number | undefined {
  return integer(value, 1, 0xffffffff);
}

function bucketName(value: WireValue | undefined): string | undefined {
  const name = text(value, 64);
  return name !== undefined && isBucketName(name) ? name : undefined;
}

function idsOf(value: WireValue | undefined, most: number): Uint8Array | undefined {
  const packed = bytes(value, most * ID_BYTES);
  return packed !== undefined && packed.length % ID_BYTES === 0 ? packed : undefined;
}

function idOf(value: WireValue | undefined): VersionId | undefined {
  const packed = bytesOf(value, ID_BYTES);
  return packed === undefined ? undefined : unpackIds(packed)[0];
}

/** Groups, at most one per bucket, with `most` ids in all. */
function groupsOf(value: WireValue | undefined, most: number): readonly Group[] | undefined {
  let left = most;
  return list(value, MAX_BUCKETS_LISTED, (item) => {
    const fields = tuple(item, 2);
    const bucket = bucketName(fields?.[0]);
    const packed = idsOf(fields?.[1], left);
    if (bucket === undefined || packed === undefined || packed.length === 0) return undefined;
    left -= packed.length / ID_BYTES;
    return { bucket, ids: unpackIds(packed) };
  });
}

function bucketsOf(value: WireValue | undefined): ReadonlyMap<string, Uint8Array> | undefined {
  const pairs = list(value, MAX_BUCKETS_LISTED, (item): readonly [string, Uint8Array] | undefined => {
    const fields = tuple(item, 2);
    const name = bucketName(fields?.[0]);
    const print = bytesOf(fields?.[1], FINGERPRINT_BYTES);
    return name === undefined || print === undefined ? undefined : [name, print];
  });
  return pairs === undefined ? undefined : new Map(pairs);
}

function parcelsOf(value: WireValue | undefined): readonly Parcel[] | ParcelFault {
  if (!Array.isArray(value) || value.length > MAX_PARCELS) return "malformed";
  const parcels: Parcel[] = [];
  for (const item of value as readonly WireValue[]) {
    const parcel = parseParcel(item);
    if (typeof parcel === "string") return parcel;
    parcels.push(parcel);
  }
  return parcels;
}

function batchMessage(fields: readonly WireValue[]): ReplicationMessage | ParcelFault {
  const parcel = parseParcel([fields[1] as WireValue, fields[2] as WireValue]);
  return typeof parcel === "string" ? parcel : { type: "batch", parcel };
}

function entriesMessage(fields: readonly WireValue[]): ReplicationMessage | ParcelFault {
  const seq = seqOf(fields[1]);
  const state = fields[2];
  if (seq === undefined || (state !== 0 && state !== 1 && state !== 2)) return "malformed";
  const parcels = parcelsOf(fields[3]);
  return typeof parcels === "string" ? parcels : { type: "entries", seq, state, parcels };
}

/** The kinds that find out what differs. */
function comparison(kind: number, fields: readonly WireValue[]): ReplicationMessage | undefined {
  if (kind === Kind.ack) {
    const first = integer(fields[1], 1);
    return first === undefined ? undefined : { type: "ack", first };
  }
  if (kind === Kind.reconcile) {
    const bucket = bucketName(fields[1]);
    const message = bytes(fields[2], MAX_MESSAGE_BYTES);
    return bucket === undefined || message === undefined ? undefined : { type: "reconcile", bucket, bytes: message };
  }
  const seq = seqOf(fields[1]);
  if (seq === undefined) return undefined;
  if (kind === Kind.root) {
    const salt = bytesOf(fields[2], SALT_BYTES);
    const root = bytesOf(fields[3], ROOT_BYTES);
    return salt === undefined || root === undefined ? undefined : { type: "root", seq, salt, root };
  }
  if (kind === Kind.verdict) {
    const busy = flag(fields[2]);
    return busy === undefined ? undefined : { type: "verdict", seq, busy };
  }
  const buckets = bucketsOf(fields[2]);
  return buckets === undefined ? undefined : { type: "buckets", seq, buckets };
}

/** The kinds that move entries, tokens and values. */
function transfer(kind: number, fields: readonly WireValue[]): ReplicationMessage | undefined {
  if (kind === Kind.done) {
    const more = flag(fields[1]);
    return more === undefined ? undefined : { type: "done", more };
  }
  if (kind === Kind.standing) {
    const since = integer(fields[1]);
    const gap = integer(fields[2]);
    const isAway = flag(fields[3]);
    if (since === undefined || gap === undefined || isAway === undefined) return undefined;
    return { type: "standing", standing: { since, gapFrom: gap === 0 ? undefined : gap, isAway } };
  }
  if (kind === Kind.have) {
    const id = idOf(fields[1]);
    return id === undefined ? undefined : { type: "have", id };
  }
  const seq = seqOf(fields[1]);
  if (seq === undefined) return undefined;
  switch (kind) {
    case Kind.want: {
      const groups = groupsOf(fields[2], MAX_WANTED_PER_REQUEST);
      return groups === undefined ? undefined : { type: "want", seq, groups };
    }
    case Kind.tokensWanted: {
      const hashes = list(fields[2], MAX_TOKENS_PER_REQUEST, (hash) => bytesOf(hash, 32));
      return hashes === undefined ? undefined : { type: "tokens-wanted", seq, hashes };
    }
    case Kind.tokens: {
      const tokens = list(fields[2], MAX_TOKENS_PER_REQUEST, (token) => text(token, MAX_TOKEN_LENGTH));
      return tokens === undefined ? undefined : { type: "tokens", seq, tokens };
    }
    case Kind.fetch: {
      const wish = wishOf(fields);
      return wish === undefined ? undefined : { type: "fetch", seq, ...wish };
    }
    case Kind.fragment: {
      const fragment = bytes(fields[2], FRAGMENT_BYTES);
      return fragment === undefined || fragment.length === 0 ? undefined : { type: "fragment", seq, bytes: fragment };
    }
    case Kind.hold: {
      const bucket = bucketName(fields[2]);
      const items = list(fields[3], MAX_HELD_PER_REQUEST, heldItem);
      return bucket === undefined || items === undefined ? undefined : { type: "hold", seq, bucket, items };
    }
    case Kind.held: {
      const bits = bytes(fields[2], MAX_HELD_PER_REQUEST / 8);
      return bits === undefined ? undefined : { type: "held", seq, bits };
    }
    case Kind.read: {
      const bucket = bucketName(fields[2]);
      const key = text(fields[3], MAX_KEY_BYTES);
      return bucket === undefined || key === undefined ? undefined : { type: "read", seq, bucket, key };
    }
    default:
      return { type: "lacking", seq };
  }
}

/** The kinds that find out what a peer lacks. */
function survey(kind: number, fields: readonly WireValue[]): ReplicationMessage | undefined {
  const bucket = bucketName(fields[1]);
  const message = bytes(fields.at(-1), MAX_MESSAGE_BYTES);
  if (bucket === undefined || message === undefined) return undefined;
  if (kind === Kind.surveyed) return { type: "surveyed", bucket, bytes: message };
  const slots = bytesOf(fields[2], SLOTS_BYTES);
  return slots === undefined ? undefined : { type: "survey", bucket, slots, bytes: message };
}

/** The kinds that reserve keys for conditional writes. */
function reservation(kind: number, fields: readonly WireValue[]): ReplicationMessage | undefined {
  const seq = seqOf(fields[1]);
  if (seq === undefined) return undefined;
  if (kind === Kind.reserved) {
    const state = RESERVATION_STATES[integer(fields[2]) ?? -1];
    const clock = integer(fields[3]);
    return state === undefined || clock === undefined ? undefined : { type: "reserved", seq, state, clock };
  }
  if (kind === Kind.reserve) {
    const wish = reservationWish(fields);
    return wish === undefined ? undefined : { type: "reserve", seq, wish };
  }
  const bucket = bucketName(fields[2]);
  const key = text(fields[3], MAX_KEY_BYTES);
  return bucket === undefined || key === undefined ? undefined : { type: "release", seq, bucket, key };
}

function reservationWish(fields: readonly WireValue[]): ReservationWish | undefined {
  const view = bytesOf(fields[2], VIEW_BYTES);
  const bucket = bucketName(fields[3]);
  const key = text(fields[4], MAX_KEY_BYTES);
  const basisClock = integer(fields[5]);
  const digest = bytesOf(fields[6], basisClock === 0 ? 0 : 8);
  const clock = integer(fields[7], 1);
  if (view === undefined || bucket === undefined || key === undefined) return undefined;
  if (basisClock === undefined || digest === undefined || clock === undefined) return undefined;
  return { view, bucket, key, basis: basisClock === 0 ? undefined : { clock: basisClock, digest }, clock };
}

function heldItem(value: WireValue): HeldItem | undefined {
  const fields = tuple(value, 4);
  const key = text(fields?.[0], MAX_KEY_BYTES);
  const clock = integer(fields?.[1], 1);
  const author = peer(fields?.[2]);
  const digest = bytesOf(fields?.[3], 8);
  if (key === undefined || clock === undefined || author === undefined || digest === undefined) return undefined;
  return { key, clock, author, digest };
}

function wishOf(fields: readonly WireValue[]): FragmentWish | undefined {
  const bucket = bucketName(fields[2]);
  const key = text(fields[3], MAX_KEY_BYTES);
  const id = idOf(fields[4]);
  const offset = integer(fields[5], 0, MAX_VALUE_BYTES - 1);
  if (bucket === undefined || key === undefined || id === undefined || offset === undefined) return undefined;
  return { bucket, key, id, offset };
}
