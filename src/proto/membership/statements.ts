import { hex } from "../bytes.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import type { Statement } from "../signed.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytesOf, integer, peer, tuple } from "../wire/shape.ts";
import { MAX_COUNT } from "./record.ts";

/**
 * The two statements of a suspicion: "I, an observer, get no answer from this member" and the accused's own "I am here".
 *
 * SWIM lets a suspicion be refuted by a higher incarnation. A record of a higher incarnation may have been signed long
 * before its subject died, and held back by the network or by somebody. So a suspicion carries 16 random bytes, and only
 * the accused's signature over those very bytes ends it: it proves life after the accusation. An observer who agrees
 * signs the same id: a confirmation is a suspicion with another accuser.
 */
export interface Suspicion {
  /** 16 random bytes chosen by the first accuser, and the same in hexadecimal. */
  readonly idBytes: Uint8Array;
  readonly id: string;
  readonly accuser: PeerId;
  readonly accused: PeerId;
  /** The start of the accused that is meant, and the last incarnation that the accuser knows. */
  readonly boot: number;
  readonly incarnation: number;
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

/** The accused's answer to the suspicion of this id. */
export interface Refutation {
  readonly idBytes: Uint8Array;
  readonly id: string;
  readonly accused: PeerId;
  readonly boot: number;
  readonly incarnation: number;
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

/** The length of a suspicion's id, bytes. */
export const CHARGE_ID_BYTES = 16;

/** The body that `accuser` is to sign. `id`: 16 bytes. */
export function encodeSuspicion(
  id: Uint8Array,
  accuser: PeerId,
  accused: PeerId,
  boot: number,
  incarnation: number,
): Uint8Array {
  return encode([id, publicKeyOf(accuser), publicKeyOf(accused), boot, incarnation]);
}

/** The body that `accused` is to sign in answer to a suspicion of `id`, 16 bytes. */
export function encodeRefutation(id: Uint8Array, accused: PeerId, boot: number, incarnation: number): Uint8Array {
  return encode([id, publicKeyOf(accused), boot, incarnation]);
}

/** The suspicion of `body`; undefined when it is malformed or accuses its own author. */
export function readSuspicion(body: Uint8Array, signature: Uint8Array): Suspicion | undefined {
  const items = readItems(body, signature, 5);
  const id = bytesOf(items?.[0], CHARGE_ID_BYTES);
  const accuser = peer(items?.[1]);
  const accused = peer(items?.[2]);
  const boot = integer(items?.[3], 1, MAX_COUNT);
  const incarnation = integer(items?.[4], 0, MAX_COUNT);
  if (id === undefined || accuser === undefined || accused === undefined || accuser === accused) return undefined;
  if (boot === undefined || incarnation === undefined) return undefined;
  const copy = { idBytes: id.slice(), body: body.slice(), signature: signature.slice() };
  return { ...copy, id: hex(id), accuser, accused, boot, incarnation };
}

/** The refutation of `body`; undefined when it is malformed. */
export function readRefutation(body: Uint8Array, signature: Uint8Array): Refutation | undefined {
  const items = readItems(body, signature, 4);
  const id = bytesOf(items?.[0], CHARGE_ID_BYTES);
  const accused = peer(items?.[1]);
  const boot = integer(items?.[2], 1, MAX_COUNT);
  const incarnation = integer(items?.[3], 0, MAX_COUNT);
  if (id === undefined || accused === undefined || boot === undefined || incarnation === undefined) return undefined;
  const copy = { idBytes: id.slice(), body: body.slice(), signature: signature.slice() };
  return { ...copy, id: hex(id), accused, boot, incarnation };
}

export function suspicionStatement({ accuser, body, signature }: Suspicion): Statement {
  return { signer: accuser, label: "starling/suspicion/1", body, signature };
}

export function refutationStatement({ accused, body, signature }: Refutation): Statement {
  return { signer: accused, label: "starling/refutation/1", body, signature };
}

function readItems(body: Uint8Array, signature: Uint8Array, length: number) {
  if (signature.length !== 64 || body.length > MAX_STATEMENT_BYTES) return undefined;
  const decoded = decode(body, SCAN_LIMITS);
  return decoded.ok ? tuple(decoded.value, length) : undefined;
}

/** An id, two keys and two counts, with their tags. */
const MAX_STATEMENT_BYTES = 128;
const SCAN_LIMITS = { depth: 1, items: 6 };
