import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { encode, type WireValue } from "../wire/codec.ts";
import { type Batch, encodeParcel, type Parcel } from "./batch.ts";
import type { Entry } from "./entry.ts";
import type { Clock } from "./hlc.ts";
import type { Standing } from "./service.ts";
import { packIds, type VersionId } from "./version-id.ts";

/**
 * What replicas say to each other on the data lane: msgpack arrays that begin with a kind.
 *
 *     [0, batch, entries]            a batch with entries; also the payload of a broadcast and the push of a late write
 *     [1, first]                     the author's batch with this first clock is stored here; also by routed envelope
 *     [2, seq, salt, root]           request: is this the fingerprint of all that you have?
 *     [3, seq, busy]                 answer: equal (false); or busy (true), also to any other request
 *     [4, seq, [[bucket, print]]]    answer: no; these are my buckets
 *     [5, bucket, message]           about what differs in a bucket: a message of `../reconcile/messages.ts`
 *     [6, seq, groups]               request: entries; a group is [bucket, ids]
 *     [7, seq, state, parcels]       answer: state 0: that is all there is, 1: ask again for the rest, 2: more follows
 *     [8, more]                      my exchange with you is over; `more`: bounds have left something out
 *     [9, seq, hashes]               request: tokens
 *     [10, seq, tokens]              answer
 *     [11, seq, bucket, key, id, offset]  request: a fragment of a large value
 *     [12, seq, bytes]               answer
 *     [13, seq]                      answer: not here
 *     [14, id]                       the large value that you asked for in vain is here
 *     [15, seq, bucket, [[key, clock, author, digest]]]  request: do you hold these durably, or later ones? What you lack is to be had here
 *     [16, seq, bits]                answer: one bit each, the lowest of a byte first
 *     [17, seq, bucket, key]         request: the version of a key; answered like a request for entries
 *     [18, since, gap or 0, away]    what I am: in service since then; my gap begins there; I wait for somebody to follow
 *     [19, seq, view, bucket, key, clock, digest, next]  request: reserve the key for a write with clock `next`, if the replicas are those that
 *                                    `view` names and nothing here is later than the version with this clock and digest (0 and empty: none)
 *     [20, seq, state, clock]        answer: 0 granted, then maybe 1 kept; 2 taken, 3 unwilling, 4 behind `clock`; or entries: what is later
 *     [21, seq, bucket, key]         what was reserved by that request is needed no more
 *     [22, bucket, slots, message]   what do you lack of what I hold in these slots: the asking side's messages of `../reconcile/messages.ts`
 *     [23, bucket, message]          the answering side's, when all that they were computed from is durable
 *
 * Ids are those of `version-id.ts`, 16 bytes; a list of ids travels as one byte string.
 */
export const Kind = {
  batch: 0,
  ack: 1,
  root: 2,
  verdict: 3,
  buckets: 4,
  reconcile: 5,
  want: 6,
  entries: 7,
  done: 8,
  tokensWanted: 9,
  tokens: 10,
  fetch: 11,
  fragment: 12,
  lacking: 13,
  have: 14,
  hold: 15,
  held: 16,
  read: 17,
  standing: 18,
  reserve: 19,
  reserved: 20,
  release: 21,
  survey: 22,
  surveyed: 23,
} as const;

/** A version that may be held: its key, its clock and author, which say what is later, and the first 8 bytes of its digest. */
export interface HeldItem {
  readonly key: string;
  readonly clock: Clock;
  readonly author: PeerId;
  readonly digest: Uint8Array;
}

/** Ids of versions in one bucket. */
export interface Group {
  readonly bucket: string;
  readonly ids: readonly VersionId[];
}

/** A message whose every field has been checked. */
export type ReplicationMessage =
  | { readonly type: "batch"; readonly parcel: Parcel }
  | { readonly type: "ack"; readonly first: Clock }
  | { readonly type: "root"; readonly seq: number; readonly salt: Uint8Array; readonly root: Uint8Array }
  | { readonly type: "verdict"; readonly seq: number; readonly busy: boolean }
  | { readonly type: "buckets"; readonly seq: number; readonly buckets: ReadonlyMap<string, Uint8Array> }
  | { readonly type: "reconcile"; readonly bucket: string; readonly bytes: Uint8Array }
  | { readonly type: "want"; readonly seq: number; readonly groups: readonly Group[] }
  | {
      readonly type: "entries";
      readonly seq: number;
      readonly state: EntriesState;
      readonly parcels: readonly Parcel[];
    }
  | { readonly type: "done"; readonly more: boolean }
  | { readonly type: "tokens-wanted"; readonly seq: number; readonly hashes: readonly Uint8Array[] }
  | { readonly type: "tokens"; readonly seq: number; readonly tokens: readonly string[] }
  | ({ readonly type: "fetch"; readonly seq: number } & FragmentWish)
  | { readonly type: "fragment"; readonly seq: number; readonly bytes: Uint8Array }
  | { readonly type: "lacking"; readonly seq: number }
  | { readonly type: "have"; readonly id: VersionId }
  | { readonly type: "hold"; readonly seq: number; readonly bucket: string; readonly items: readonly HeldItem[] }
  | { readonly type: "held"; readonly seq: number; readonly bits: Uint8Array }
  | { readonly type: "standing"; readonly standing: Standing }
  | { readonly type: "read"; readonly seq: number; readonly bucket: string; readonly key: string }
  | { readonly type: "reserve"; readonly seq: number; readonly wish: ReservationWish }
  | { readonly type: "reserved"; readonly seq: number; readonly state: ReservationState; readonly clock: Clock }
  | { readonly type: "release"; readonly seq: number; readonly bucket: string; readonly key: string }
  | { readonly type: "survey"; readonly bucket: string; readonly slots: Uint8Array; readonly bytes: Uint8Array }
  | { readonly type: "surveyed"; readonly bucket: string; readonly bytes: Uint8Array };

/** What a conditional write asks of a replica. */
export interface ReservationWish {
  /** {@link VIEW_BYTES} that name the members whose majority decides. */
  readonly view: Uint8Array;
  readonly bucket: string;
  readonly key: string;
  /** The version that the condition names, a deletion maybe, by its clock and the first 8 bytes of its digest; undefined: nothing at all. */
  readonly basis: { readonly clock: Clock; readonly digest: Uint8Array } | undefined;
  /** Of the write that is to follow. */
  readonly clock: Clock;
}

/** What a replica says of a reservation, in the order of their numbers. */
export const RESERVATION_STATES = ["granted", "kept", "taken", "unwilling", "behind"] as const;
export type ReservationState = (typeof RESERVATION_STATES)[number];

export const VIEW_BYTES = 8;

/**
 * What an answer with entries says about the rest: that there is none, that it is to be asked for again, that it
 * follows.
 */
export const EntriesState = { complete: 0, again: 1, follows: 2 } as const;
export type EntriesState = (typeof EntriesState)[keyof typeof EntriesState];

/** Which fragment of which large value. */
export interface FragmentWish {
  readonly bucket: string;
  readonly key: string;
  readonly id: VersionId;
  readonly offset: number;
}

/** A batch with its entries: the payload of a broadcast, or a push. */
export function encodeBatchMessage(batch: Batch, entries: readonly Entry[]): Uint8Array {
  const [proof, list] = encodeParcel(batch, entries) as readonly WireValue[];
  return encode([Kind.batch, proof as WireValue, list as WireValue]);
}

/** Groups of a map from buckets to ids. */
export function toGroups(ids: ReadonlyMap<string, readonly VersionId[]>): readonly Group[] {
  const groups: Group[] = [];
  for (const [bucket, members] of ids) groups.push({ bucket, ids: members });
  return groups;
}

/** The batch with that first clock is stored here. */
export function encodeAck(first: Clock): Uint8Array {
  return encode([Kind.ack, first]);
}

/** Asks whether that is the fingerprint of everything. */
export function encodeRoot(seq: number, salt: Uint8Array, root: Uint8Array): Uint8Array {
  return encode([Kind.root, seq, salt, root]);
}

/** Equal, or busy. */
export function encodeVerdict(seq: number, busy: boolean): Uint8Array {
  return encode([Kind.verdict, seq, busy]);
}

/** Every bucket with its fingerprint. */
export function encodeBuckets(seq: number, buckets: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  return encode([Kind.buckets, seq, buckets]);
}

/** Says something about what differs in a bucket. */
export function encodeReconcile(bucket: string, message: Uint8Array): Uint8Array {
  return encode([Kind.reconcile, bucket, message]);
}

function encodeGroups(groups: readonly Group[]): WireValue {
  return groups.map(({ bucket, ids }) => [bucket, packIds(ids)]);
}

/** Asks for entries. */
export function encodeWant(seq: number, groups: readonly Group[]): Uint8Array {
  return encode([Kind.want, seq, encodeGroups(groups)]);
}

/** Entries, and what about the rest. */
export function encodeEntries(seq: number, state: EntriesState, parcels: readonly WireValue[]): Uint8Array {
  return encode([Kind.entries, seq, state, parcels]);
}

/** Ends an exchange. */
export function encodeDone(more: boolean): Uint8Array {
  return encode([Kind.done, more]);
}

/** Asks for tokens by their hashes, 32 bytes each. */
export function encodeTokensWanted(seq: number, hashes: readonly Uint8Array[]): Uint8Array {
  return encode([Kind.tokensWanted, seq, hashes]);
}

/** Tokens, in any order. */
export function encodeTokens(seq: number, tokens: readonly string[]): Uint8Array {
  return encode([Kind.tokens, seq, tokens]);
}

/** Asks for a fragment of a large value. */
export function encodeFetch(seq: number, wish: FragmentWish): Uint8Array {
  return encode([Kind.fetch, seq, wish.bucket, wish.key, packIds([wish.id]), wish.offset]);
}

/** The fragment asked for. */
export function encodeFragment(seq: number, fragment: Uint8Array): Uint8Array {
  return encode([Kind.fragment, seq, fragment]);
}

/** The value asked for is not here. */
export function encodeLacking(seq: number): Uint8Array {
  return encode([Kind.lacking, seq]);
}

/** The value asked for in vain is here. */
export function encodeHave(id: VersionId): Uint8Array {
  return encode([Kind.have, packIds([id])]);
}

/** Asks whether versions are held. */
export function encodeHold(seq: number, bucket: string, items: readonly HeldItem[]): Uint8Array {
  return encode([
    Kind.hold,
    seq,
    bucket,
    items.map(({ key, clock, author, digest }) => [key, clock, publicKeyOf(author), digest]),
  ]);
}

/** Which of the versions asked about are held. */
export function encodeHeld(seq: number, held: readonly boolean[]): Uint8Array {
  const bits = new Uint8Array(Math.ceil(held.length / 8));
  held.forEach((isHeld, index) => {
    if (isHeld) bits[index >> 3] = (bits[index >> 3] as number) | (1 << (index & 7));
  });
  return encode([Kind.held, seq, bits]);
}

/** Asks for the version of a key. */
export function encodeRead(seq: number, bucket: string, key: string): Uint8Array {
  return encode([Kind.read, seq, bucket, key]);
}

/** Asks for a key to be reserved. */
export function encodeReserve(seq: number, { view, bucket, key, basis, clock }: ReservationWish): Uint8Array {
  return encode([Kind.reserve, seq, view, bucket, key, basis?.clock ?? 0, basis?.digest ?? NO_DIGEST, clock]);
}

const NO_DIGEST = new Uint8Array(0);

/** What becomes of a reservation. */
export function encodeReserved(seq: number, state: ReservationState, clock: Clock): Uint8Array {
  return encode([Kind.reserved, seq, RESERVATION_STATES.indexOf(state), clock]);
}

/** Gives a reservation back. */
export function encodeRelease(seq: number, bucket: string, key: string): Uint8Array {
  return encode([Kind.release, seq, bucket, key]);
}

/** Asks what of some slots the peer lacks; `slots` as packed. */
export function encodeSurvey(bucket: string, slots: Uint8Array, message: Uint8Array): Uint8Array {
  return encode([Kind.survey, bucket, slots, message]);
}

/** Answers that. */
export function encodeSurveyed(bucket: string, message: Uint8Array): Uint8Array {
  return encode([Kind.surveyed, bucket, message]);
}

/** Says whether this replica is in service. */
export function encodeStanding({ since, gapFrom, isAway }: Standing): Uint8Array {
  return encode([Kind.standing, Math.floor(since), Math.floor(gapFrom ?? 0), isAway]);
}
