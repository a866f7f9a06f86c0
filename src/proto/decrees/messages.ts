import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, flag, integer, list, tuple } from "../wire/shape.ts";
import type { DecreeId } from "./decree-id.ts";
import { DECREE_ID_BYTES, packIds, unpackIds } from "./decree-id.ts";
import { BUCKETS, MAX_DECREE_BYTES, MAX_REVOCATIONS_OF_A_SIGNER, TELL_BYTES } from "./limits.ts";

/**
 * What two linked members say to each other about decrees, on the gossip lane: msgpack arrays that begin with a kind from 96 up
 * (membership and broadcast use the kinds below).
 *
 *     [96, sums, epoch, commitment, reply]   what the sender holds: a sum for each part of its set, and which secrets
 *     [97, bucket, ids]                      which decrees of this part do I lack? These are mine.
 *     [98, bucket, last, decrees]            those; `last`: and no more
 *     [99]                                   pass me your secrets
 *     [100, sealed]                          those, sealed to the X25519 key that you were admitted with
 *     [101, decree]                          this is why I leave you
 */
const Kind = { compare: 96, ask: 97, tell: 98, want: 99, pass: 100, notice: 101 } as const;

/** The lowest kind that is about decrees on the gossip lane. */
export const FIRST_DECREE_KIND = 96;

export type DecreeMessage =
  | {
      readonly type: "compare";
      readonly sums: Uint8Array;
      readonly epoch: number;
      readonly commitment: Uint8Array;
      /** It answers a comparison, and wants no other. */
      readonly reply: boolean;
    }
  | { readonly type: "ask"; readonly bucket: number; readonly ids: readonly DecreeId[] }
  | { readonly type: "tell"; readonly bucket: number; readonly last: boolean; readonly decrees: readonly Uint8Array[] }
  | { readonly type: "want" }
  | { readonly type: "pass"; readonly sealed: Uint8Array }
  | { readonly type: "notice"; readonly decree: Uint8Array };

/** Ids in one question: every signer's share of a part, many times what it is. */
const MAX_IDS = 2 * MAX_REVOCATIONS_OF_A_SIGNER;
/** Decrees in one answer: the shortest is 120 bytes. */
const MAX_TOLD = TELL_BYTES / 64;
/** Sealed secrets: full lists, a nonce and an authenticator. */
const MAX_SEALED_BYTES = 2_048;
const SCAN_LIMITS = { depth: 2, items: MAX_TOLD + 8 };

export function encodeDecreeMessage(message: DecreeMessage): Uint8Array {
  switch (message.type) {
    case "compare":
      return encode([Kind.compare, message.sums, message.epoch, message.commitment, message.reply]);
    case "ask":
      return encode([Kind.ask, message.bucket, packIds(message.ids.slice(0, MAX_IDS))]);
    case "tell":
      return encode([Kind.tell, message.bucket, message.last, message.decrees]);
    case "want":
      return encode([Kind.want]);
    case "pass":
      return encode([Kind.pass, message.sealed]);
    case "notice":
      return encode([Kind.notice, message.decree]);
  }
}

/** Decodes one message; undefined is the sender's fault. Byte strings are views of `message`. Never throws. */
export function decodeDecreeMessage(message: Uint8Array): DecreeMessage | undefined {
  const decoded = decode(message, SCAN_LIMITS);
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined;
  const items = decoded.value as readonly WireValue[];
  switch (items[0]) {
    case Kind.compare:
      return readCompare(tuple(items, 5));
    case Kind.ask: {
      const bucket = integer(tuple(items, 3)?.[1], 0, BUCKETS - 1);
      const packed = bytes(items[2], MAX_IDS * DECREE_ID_BYTES);
      const ids = packed && unpackIds(packed);
      return bucket === undefined || ids === undefined ? undefined : { type: "ask", bucket, ids };
    }
    case Kind.tell: {
      const bucket = integer(tuple(items, 4)?.[1], 0, BUCKETS - 1);
      const last = flag(items[2]);
      const decrees = list(items[3], MAX_TOLD, (decree) => bytes(decree, MAX_DECREE_BYTES));
      if (bucket === undefined || last === undefined || decrees === undefined) return undefined;
      return { type: "tell", bucket, last, decrees };
    }
    case Kind.want:
      return items.length === 1 ? { type: "want" } : undefined;
    case Kind.pass: {
      const sealed = bytes(tuple(items, 2)?.[1], MAX_SEALED_BYTES);
      return sealed && { type: "pass", sealed };
    }
    case Kind.notice: {
      const decree = bytes(tuple(items, 2)?.[1], MAX_DECREE_BYTES);
      return decree && { type: "notice", decree };
    }
    default:
      return undefined;
  }
}

function readCompare(items: readonly WireValue[] | undefined): DecreeMessage | undefined {
  const sums = bytesOf(items?.[1], BUCKETS * 8);
  const epoch = integer(items?.[2], 1, 0xffff_ffff);
  const commitment = bytesOf(items?.[3], 32);
  const reply = flag(items?.[4]);
  if (sums === undefined || epoch === undefined || commitment === undefined || reply === undefined) return undefined;
  return { type: "compare", sums: sums.slice(), epoch, commitment: commitment.slice(), reply };
}
