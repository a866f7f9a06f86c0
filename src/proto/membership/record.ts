import { assert } from "../assert.ts";
import { RecentMap } from "../bounded.ts";
import { equalBytes } from "../bytes.ts";
import { sha256 } from "../hash.ts";
import {
  MAX_LABEL_LENGTH,
  MAX_LABELS,
  MAX_MEMBERS,
  MAX_NAME_LENGTH,
  MAX_RECORD_BYTES,
  MAX_TOKEN_LENGTH,
} from "../limits.ts";
import { Atlas } from "../overlay/atlas.ts";
import { type RingSeat, seatOf } from "../overlay/seat.ts";
import { type PeerId, peerIdOf, publicKeyOf } from "../peer-id.ts";
import type { Statement, TokenFacts } from "../signed.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytesOf, integer, list, text, tuple } from "../wire/shape.ts";

/**
 * What a member says about itself: signed by it, carried by anybody, secret from nobody in the cluster.
 *
 * Records of one member are totally ordered: a later start (boot count) wins, then a later incarnation, then `left` over
 * `alive`, and between two records that a broken member signed for one incarnation the greater fingerprint, so that
 * everybody keeps the same one. Merging records is therefore commutative, associative and idempotent.
 */
export interface MemberRecord extends RecordDraft {
  readonly id: PeerId;
  /** The 32 bytes that `id` names. */
  readonly key: Uint8Array;
  /** What the signature covers, and the signature: 64 bytes. */
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
  /** The first eight bytes of SHA-256 of the body, as two 32-bit words. */
  readonly fingerprint: readonly [number, number];
}

/** The contents of a record before its subject signs it. */
export interface RecordDraft extends MemberProfile {
  /** How often the member has started, 1 to 2^32 - 1. Its driver keeps the count on disk. */
  readonly boot: number;
  /** Rises with every record of one start, 0 to 2^32 - 1. */
  readonly incarnation: number;
  readonly status: "alive" | "left";
  /** The member token, bound to the member's key. */
  readonly token: string;
}

/** What a member tells of itself that is not membership's business. */
export interface MemberProfile {
  /** For people: at most 64 characters, not unique. */
  readonly name: string;
  /** At most 32 pairs, keys strictly ascending, each side at most 128 characters. */
  readonly labels: readonly Label[];
  /** The protocol versions that it speaks, both included. */
  readonly protocols: { readonly least: number; readonly most: number };
  /** Its X25519 key of this start, 32 bytes. */
  readonly exchangeKey: Uint8Array;
  /** How much it takes on for others, as a weight: 0 nothing, 100 an ordinary member, at most 65,535. */
  readonly capacity: number;
}

export type Label = readonly [key: string, value: string];

/** Boot counts and incarnations fit 32 bits: at one a second, 136 years. */
export const MAX_COUNT = 0xffff_ffff;

/** Negative: `a` is older; zero: the same record; positive: `a` is newer. Of one member only. */
export function compareRecords(a: RecordVersion, b: RecordVersion): number {
  if (a.boot !== b.boot) return a.boot - b.boot;
  if (a.incarnation !== b.incarnation) return a.incarnation - b.incarnation;
  if (a.status !== b.status) return a.status === "left" ? 1 : -1;
  return a.fingerprint[0] - b.fingerprint[0] || a.fingerprint[1] - b.fingerprint[1];
}

/** What orders two records of one member. */
export type RecordVersion = Pick<MemberRecord, "boot" | "incarnation" | "status" | "fingerprint">;

/** The statement that a record is. */
export function recordStatement(record: MemberRecord): Statement {
  return { signer: record.id, label: "starling/record/1", body: record.body, signature: record.signature };
}

/** The body that `id` is to sign. Asserts the bounds of {@link RecordDraft} and that the record fits its 8 KiB. */
export function encodeRecord(id: PeerId, draft: RecordDraft): Uint8Array {
  const { boot, incarnation, status, name, labels, protocols, exchangeKey, capacity, token } = draft;
  const body = encode([
    1,
    publicKeyOf(id),
    boot,
    incarnation,
    status === "left" ? 1 : 0,
    name,
    labels,
    protocols.least,
    protocols.most,
    exchangeKey,
    capacity,
    token,
  ]);
  assert(readRecord(body, EMPTY_SIGNATURE) !== undefined, "a record keeps the bounds of its fields and of its size");
  return body;
}

/** The record of `body`; undefined when it is malformed. Copies both, so that nothing larger is kept alive. */
export function readRecord(body: Uint8Array, signature: Uint8Array): MemberRecord | undefined {
  if (body.length > MAX_RECORD_BYTES || signature.length !== 64) return undefined;
  const own = body.slice();
  const decoded = decode(own, SCAN_LIMITS);
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined;
  // Later versions may append fields; a reader of this version passes over them.
  const items = decoded.value as readonly WireValue[];
  const key = bytesOf(items[1], 32);
  const boot = integer(items[2], 1, MAX_COUNT);
  const incarnation = integer(items[3], 0, MAX_COUNT);
  const left = integer(items[4], 0, 1);
  const name = text(items[5], MAX_NAME_LENGTH);
  const labels = readLabels(items[6]);
  const least = integer(items[7], 0, 65_535);
  const most = integer(items[8], least, 65_535);
  const exchangeKey = bytesOf(items[9], 32);
  const capacity = integer(items[10], 0, 65_535);
  const token = text(items[11], MAX_TOKEN_LENGTH);
  if (items[0] !== 1 || key === undefined || boot === undefined || incarnation === undefined) return undefined;
  if (left === undefined || name === undefined || labels === undefined || least === undefined) return undefined;
  if (most === undefined || exchangeKey === undefined || capacity === undefined || token === undefined)
    return undefined;
  return {
    id: peerIdOf(key),
    key,
    boot,
    incarnation,
    status: left === 1 ? "left" : "alive",
    name,
    labels,
    protocols: { least, most },
    exchangeKey,
    capacity,
    token,
    body: own,
    signature: signature.slice(),
    fingerprint: fingerprintOf(own),
  };
}

/** A record whose signature and token are good, what its token says, and where that seats its subject. */
export interface Vouched {
  readonly record: MemberRecord;
  readonly facts: TokenFacts;
  readonly seat: RingSeat;
}

/**
 * What members of one process (a simulation of thousands) have in common: one object for each decoded record, for what its
 * check has shown, and for the order of all seats. An agent has a shelf of its own.
 *
 * Holds as many records as an agent keeps members; the oldest is forgotten first and decoded again when it is needed.
 */
export class RecordShelf {
  readonly atlas = new Atlas();
  /** By the begin of the signature, which depends on all of the body. */
  readonly #records: RecentMap<number, MemberRecord>;
  readonly #vouched = new WeakMap<MemberRecord, Vouched>();

  /** @param capacity in records; default 20,000. */
  constructor(capacity = MAX_MEMBERS) {
    this.#records = new RecentMap(capacity);
  }

  /** As {@link readRecord}, but equal bytes give the same object while it is remembered. */
  read(body: Uint8Array, signature: Uint8Array): MemberRecord | undefined {
    const name = word(signature, 0) * 65_536 + (word(signature, 4) >>> 16);
    const known = this.#records.get(name);
    if (known !== undefined && equalBytes(known.signature, signature) && equalBytes(known.body, body)) return known;
    const record = readRecord(body, signature);
    if (record !== undefined) this.#records.set(name, record);
    return record;
  }

  /** What the check of `record` has shown. `before`: the same of an earlier record, whose seat serves again if it is the same. */
  vouch(record: MemberRecord, facts: TokenFacts, before?: Vouched): Vouched {
    const known = this.#vouched.get(record);
    if (known !== undefined && known.facts.expiresAt === facts.expiresAt && isSamePlace(known.facts, facts))
      return known;
    const seat =
      before !== undefined && isSamePlace(before.facts, facts)
        ? before.seat
        : this.atlas.shared(seatOf(record.id, facts.place));
    const vouched: Vouched = { record, facts, seat };
    this.#vouched.set(record, vouched);
    return vouched;
  }
}

function isSamePlace(a: TokenFacts, b: TokenFacts): boolean {
  return a.place === b.place || equalBytes(a.place, b.place);
}

function readLabels(value: WireValue | undefined): readonly Label[] | undefined {
  let last: string | undefined;
  return list(value, MAX_LABELS, (item) => {
    const pair = tuple(item, 2);
    const key = text(pair?.[0], MAX_LABEL_LENGTH);
    const content = text(pair?.[1], MAX_LABEL_LENGTH);
    if (key === undefined || content === undefined || (last !== undefined && key <= last)) return undefined;
    last = key;
    return [key, content] as const;
  });
}

function fingerprintOf(body: Uint8Array): readonly [number, number] {
  const digest = sha256(body);
  return [word(digest, 0), word(digest, 4)];
}

function word(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16);
  return (high | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)) >>> 0;
}

const EMPTY_SIGNATURE = new Uint8Array(64);

/** The record, its labels and one label; 12 fields, 32 pairs, and room for what later versions append. */
const SCAN_LIMITS = { depth: 4, items: 256 };
