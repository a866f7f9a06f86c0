import { concat, equalBytes } from "../bytes.ts";
import { MAX_TOKEN_LENGTH } from "../limits.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import { type RefusalCode, refusalCode } from "../signaling/messages.ts";
import { printable } from "../signaling/printable.ts";
import type { Statement } from "../signed.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, bytesOf, integer, peer, text, tuple } from "../wire/shape.ts";
import type { BoxKeyPair, Crypto, NodeIdentity } from "./crypto.ts";
import type { Desk } from "./desk.ts";
import { MAX_SHOWING_LENGTH } from "./showing.ts";

/**
 * The exchange of a token at an issuer's desk (`desk.ts`), as sealed letters that anybody may carry.
 *
 *     request   X25519 key of the asker, then a box for the desk:  body, signature by the node key that asks
 *               body: cluster, asker, the asker's X25519 key, the desk's X25519 key, token as it is shown (`showing.ts`)
 *     answer    a box for the asker:  token, and what it makes void; or code and detail
 *
 * The token is a join token, or a member token that has expired and buys a renewal. The signature inside proves the node key
 * that the new token shall be bound to, to this very desk: the carrier need not be believed. A request that is carried twice
 * spends no second use, since a use is spent by a node key and not by a request, and its answer opens for the same asker only.
 * The carrier learns that somebody asks, how long the letters are, and nothing else.
 */

/** A request, bytes: a credential of full size, what it is shown with, and its envelope. */
export const MAX_REQUEST_BYTES = 4_864;
/** An answer, bytes: a token of full size and its envelope. */
export const MAX_ANSWER_BYTES = 4_608;

const BOX_KEY_BYTES = 32;
/** What explains a refusal, characters: as in signaling. */
const MAX_DETAIL_LENGTH = 256;

/** What a desk reads in a request. Nothing in it is checked but that it was sealed by whoever holds `replyKey`. */
export interface ExchangeRequest {
  readonly asker: PeerId;
  readonly token: string;
  /** The X25519 key that the answer is sealed for. */
  readonly replyKey: Uint8Array;
  /** To be verified: the asker's signature over the request. */
  readonly statement: Statement;
}

/** What an asker reads in an answer. */
export type ExchangeAnswer =
  | {
      readonly ok: true;
      readonly token: string;
      /** An encoded decree: the revocation of the member in whose place the asker comes. Unchecked. */
      readonly retires?: Uint8Array;
    }
  | { readonly ok: false; readonly code: RefusalCode; readonly detail: string };

/** Seals a request for `desk`; undefined when its key is unusable. */
export function sealRequest(
  crypto: Crypto,
  asker: { readonly identity: NodeIdentity; readonly box: BoxKeyPair; readonly clusterId: string },
  desk: Desk,
  token: string,
): Uint8Array | undefined {
  const { identity, box, clusterId } = asker;
  const body = encode([clusterId, publicKeyOf(identity.id), box.publicKey, desk.boxKey, token]);
  const signature = identity.sign("starling/exchange/1", body);
  const sealed = crypto.seal(encode([body, signature]), desk.boxKey, box.secretKey);
  return sealed && concat(box.publicKey, sealed);
}

/** Opens a request at the desk that holds `box`; undefined when it is not one for this desk and cluster. Never throws. */
export function openRequest(
  crypto: Crypto,
  box: BoxKeyPair,
  clusterId: string,
  sealed: Uint8Array,
): ExchangeRequest | undefined {
  if (sealed.length <= BOX_KEY_BYTES || sealed.length > MAX_REQUEST_BYTES) return undefined;
  const replyKey = sealed.slice(0, BOX_KEY_BYTES);
  const plain = crypto.open(sealed.subarray(BOX_KEY_BYTES), replyKey, box.secretKey);
  const outer = plain && decode(plain, { depth: 1, items: 3 });
  const parts = outer?.ok ? tuple(outer.value, 2) : undefined;
  const body = bytes(parts?.[0], MAX_REQUEST_BYTES)?.slice();
  const signature = bytesOf(parts?.[1], 64)?.slice();
  if (body === undefined || signature === undefined) return undefined;
  const inner = decode(body.slice(), { depth: 1, items: 6 });
  const fields = inner.ok ? tuple(inner.value, 5) : undefined;
  const asker = peer(fields?.[1]);
  const claimedKey = bytesOf(fields?.[2], BOX_KEY_BYTES);
  const deskKey = bytesOf(fields?.[3], BOX_KEY_BYTES);
  const token = text(fields?.[4], MAX_SHOWING_LENGTH);
  if (fields?.[0] !== clusterId || asker === undefined || token === undefined) return undefined;
  if (claimedKey === undefined || !equalBytes(claimedKey, replyKey)) return undefined;
  if (deskKey === undefined || !equalBytes(deskKey, box.publicKey)) return undefined;
  return { asker, token, replyKey, statement: { signer: asker, label: "starling/exchange/1", body, signature } };
}

/** Seals the desk's answer for the asker; undefined when the key that it gave is unusable. */
export function sealAnswer(
  crypto: Crypto,
  box: BoxKeyPair,
  replyKey: Uint8Array,
  answer: ExchangeAnswer,
): Uint8Array | undefined {
  const plain = answer.ok
    ? encode([1, answer.token, "", ...(answer.retires === undefined ? [] : [answer.retires])])
    : encode([0, answer.code, cut(answer.detail)]);
  return crypto.seal(plain, replyKey, box.secretKey);
}

/** Opens the answer of the desk with that key; undefined when it is none. The token in it is unchecked. Never throws. */
export function openAnswer(
  crypto: Crypto,
  box: BoxKeyPair,
  deskKey: Uint8Array,
  sealed: Uint8Array,
): ExchangeAnswer | undefined {
  if (sealed.length > MAX_ANSWER_BYTES) return undefined;
  const plain = crypto.open(sealed, deskKey, box.secretKey);
  const decoded = plain && decode(plain, { depth: 1, items: 5 });
  const fields = decoded?.ok ? (tuple(decoded.value, 3) ?? tuple(decoded.value, 4)) : undefined;
  const kind = integer(fields?.[0], 0, 1);
  const value = text(fields?.[1], MAX_TOKEN_LENGTH);
  const detail = text(fields?.[2], MAX_DETAIL_LENGTH);
  if (kind === undefined || value === undefined || detail === undefined) return undefined;
  if (kind === 1 && fields?.length === 3) return { ok: true, token: value };
  if (kind === 1) {
    const retires = bytes(fields?.[3], MAX_ANSWER_BYTES)?.slice();
    return retires && { ok: true, token: value, retires };
  }
  const code = refusalCode(value);
  return code === undefined ? undefined : { ok: false, code, detail: printable(detail) };
}

function cut(detail: string): string {
  return detail.slice(0, MAX_DETAIL_LENGTH);
}
