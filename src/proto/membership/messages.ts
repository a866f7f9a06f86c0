import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, flag, integer, list, tuple } from "../wire/shape.ts";
import { SUM_BYTES } from "./digest.ts";
import { type Entry, type Named, unpackEntries, unpackNamed } from "./entries.ts";
import { HEAD_BYTES, PREFIX_BYTES } from "./heads.ts";
import { BUCKETS, MAX_NOTICE } from "./limits.ts";
import type { MemberRecord, RecordShelf } from "./record.ts";
import { type Refutation, readRefutation, readSuspicion, type Suspicion } from "./statements.ts";

/**
 * What members say to each other about membership: msgpack arrays that begin with a kind below 64 (broadcast uses the
 * kinds from 64 up on the same lane).
 *
 * On a link, gossip lane:
 *
 *     [1, root, size]         the digest of everything we hold, and how many members that are
 *     [2, sums, size]         the sums of its 64 buckets: yours was different
 *     [3, mask, heads]        what we hold in these buckets, in the shortest form
 *     [4, records, more]      records that you lack: [body, signature, down, age in seconds] each; whether others follow
 *     [5, prefixes]           send us the records of the members whose keys begin so
 *     [6, payload]            a suspicion or a refutation that concerns you, as it would be broadcast
 *     [7, entries]            members that we hold for down and you do not
 *     [8, entries]            members of whom you hold something else
 *
 * As broadcast payloads:
 *
 *     [16, body, signature]   a record
 *     [17, body, signature]   a suspicion
 *     [18, body, signature]   a refutation
 *     [19, members]           somebody holds these for down; whoever finds itself here signs a newer record
 */
export const MessageKind = {
  digest: 1,
  sums: 2,
  heads: 3,
  records: 4,
  want: 5,
  tell: 6,
  claims: 7,
  entries: 8,
} as const;
export const PayloadKind = { record: 16, suspicion: 17, refutation: 18, notice: 19 } as const;

/** A record as an exchange carries it. */
export interface Carried {
  readonly record: MemberRecord;
  /** The sender holds its subject for down. */
  readonly down: boolean;
  readonly ageSeconds: number;
}

export type LinkMessage =
  | { readonly type: "digest"; readonly root: Uint8Array; readonly size: number }
  | { readonly type: "sums"; readonly sums: Uint8Array; readonly size: number }
  | { readonly type: "heads"; readonly mask: Uint8Array; readonly heads: Uint8Array }
  | { readonly type: "records"; readonly records: readonly Carried[]; readonly more: boolean }
  | { readonly type: "want"; readonly prefixes: Uint8Array }
  | { readonly type: "tell"; readonly payload: Payload }
  | { readonly type: "claims"; readonly entries: readonly Entry[] }
  | { readonly type: "entries"; readonly entries: readonly Entry[] };

export type Payload =
  | { readonly type: "record"; readonly record: MemberRecord }
  | { readonly type: "suspicion"; readonly suspicion: Suspicion }
  | { readonly type: "refutation"; readonly refutation: Refutation }
  | { readonly type: "notice"; readonly named: readonly Named[] };

export function encodeDigest(root: Uint8Array, size: number): Uint8Array {
  return encode([MessageKind.digest, root, size]);
}

export function encodeSums(sums: Uint8Array, size: number): Uint8Array {
  return encode([MessageKind.sums, sums, size]);
}

export function encodeHeads(mask: Uint8Array, packed: Uint8Array): Uint8Array {
  return encode([MessageKind.heads, mask, packed]);
}

export function encodeRecords(records: readonly Carried[], more: boolean): Uint8Array {
  const items = records.map(({ record, down, ageSeconds }) => [record.body, record.signature, down, ageSeconds]);
  return encode([MessageKind.records, items, more]);
}

export function encodeWant(packedPrefixes: Uint8Array): Uint8Array {
  return encode([MessageKind.want, packedPrefixes]);
}

export function encodeTell(payload: Uint8Array): Uint8Array {
  return encode([MessageKind.tell, payload]);
}

export function encodeClaims(packed: Uint8Array): Uint8Array {
  return encode([MessageKind.claims, packed]);
}

export function encodeEntries(packed: Uint8Array): Uint8Array {
  return encode([MessageKind.entries, packed]);
}

/** The broadcast form of a signed thing. */
export function encodePayload(
  kind: "record" | "suspicion" | "refutation",
  signed: { readonly body: Uint8Array; readonly signature: Uint8Array },
): Uint8Array {
  return encode([PayloadKind[kind], signed.body, signed.signature]);
}

export function encodeNotice(packed: Uint8Array): Uint8Array {
  return encode([PayloadKind.notice, packed]);
}

/** Decodes a message of the gossip lane; undefined when it is malformed. Never throws. */
export function decodeMessage(message: Uint8Array, shelf: RecordShelf): LinkMessage | undefined {
  const items = itemsOf(message);
  if (items === undefined) return undefined;
  switch (items[0]) {
    case MessageKind.digest: {
      const root = items.length === 3 ? bytesOf(items[1], SUM_BYTES) : undefined;
      const size = integer(items[2]);
      return root && size !== undefined ? { type: "digest", root, size } : undefined;
    }
    case MessageKind.sums: {
      const sums = items.length === 3 ? bytesOf(items[1], BUCKETS * SUM_BYTES) : undefined;
      const size = integer(items[2]);
      return sums && size !== undefined ? { type: "sums", sums, size } : undefined;
    }
    case MessageKind.heads: {
      const mask = items.length === 3 ? bytesOf(items[1], BUCKETS / 8) : undefined;
      const heads = bytes(items[2], message.length);
      return mask && heads && heads.length % HEAD_BYTES === 0 ? { type: "heads", mask, heads } : undefined;
    }
    case MessageKind.records: {
      const records = items.length === 3 ? list(items[1], MAX_CARRIED, (item) => readCarried(item, shelf)) : undefined;
      const more = flag(items[2]);
      return records && more !== undefined ? { type: "records", records, more } : undefined;
    }
    case MessageKind.want: {
      const prefixes = items.length === 2 ? bytes(items[1], message.length) : undefined;
      return prefixes && prefixes.length % PREFIX_BYTES === 0 ? { type: "want", prefixes } : undefined;
    }
    case MessageKind.tell: {
      const packed = items.length === 2 ? bytes(items[1], message.length) : undefined;
      const payload = packed && decodePayload(packed, shelf);
      return payload && { type: "tell", payload };
    }
    case MessageKind.claims:
    case MessageKind.entries: {
      const entries = items.length === 2 ? entriesOf(items[1]) : undefined;
      return entries && { type: items[0] === MessageKind.claims ? "claims" : "entries", entries };
    }
    default:
      return undefined;
  }
}

/**
 * The payload of a `tell` that came where probe frames come too; undefined when it is none. Messages are arrays, whose first byte is
 * above the kinds of all probe frames.
 */
export function decodeTell(message: Uint8Array, shelf: RecordShelf): Payload | undefined {
  if ((message[0] ?? 0) < 0x90) return undefined;
  const decoded = decodeMessage(message, shelf);
  return decoded?.type === "tell" ? decoded.payload : undefined;
}

/** Decodes a broadcast payload; undefined when it is malformed. Never throws. */
export function decodePayload(payload: Uint8Array, shelf: RecordShelf): Payload | undefined {
  const items = itemsOf(payload);
  if (items === undefined) return undefined;
  if (items[0] === PayloadKind.notice) {
    const packed = items.length === 2 ? bytes(items[1], payload.length) : undefined;
    const named = packed && unpackNamed(packed);
    return named && named.length <= MAX_NOTICE ? { type: "notice", named } : undefined;
  }
  const body = items.length === 3 ? bytes(items[1], payload.length) : undefined;
  const signature = bytesOf(items[2], 64);
  if (body === undefined || signature === undefined) return undefined;
  switch (items[0]) {
    case PayloadKind.record: {
      const record = shelf.read(body, signature);
      return record && { type: "record", record };
    }
    case PayloadKind.suspicion: {
      const suspicion = readSuspicion(body, signature);
      return suspicion && { type: "suspicion", suspicion };
    }
    case PayloadKind.refutation: {
      const refutation = readRefutation(body, signature);
      return refutation && { type: "refutation", refutation };
    }
    default:
      return undefined;
  }
}

function itemsOf(message: Uint8Array): readonly WireValue[] | undefined {
  const decoded = decode(message, SCAN_LIMITS);
  return decoded.ok && Array.isArray(decoded.value) ? (decoded.value as readonly WireValue[]) : undefined;
}

function entriesOf(value: WireValue | undefined): readonly Entry[] | undefined {
  return value instanceof Uint8Array ? unpackEntries(value) : undefined;
}

function readCarried(value: WireValue, shelf: RecordShelf): Carried | undefined {
  const items = tuple(value, 4);
  const body = bytes(items?.[0], Number.MAX_SAFE_INTEGER);
  const signature = bytesOf(items?.[1], 64);
  const down = flag(items?.[2]);
  const ageSeconds = integer(items?.[3], 0, 0xffff_ffff);
  if (body === undefined || signature === undefined || down === undefined || ageSeconds === undefined) return undefined;
  const record = shelf.read(body, signature);
  return record && { record, down, ageSeconds };
}

/** Records in one message: as many of the smallest as fit. */
const MAX_CARRIED = 512;

/** The message, its list and one record; four items each. */
const SCAN_LIMITS = { depth: 3, items: 4 + 5 * MAX_CARRIED };
