import { type PeerId, publicKeyOf } from "../peer-id.ts";
import type { Statement } from "../signed.ts";
import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytes, bytesOf, integer, peer, tuple } from "../wire/shape.ts";
import { MAX_CONTENT_BYTES, MAX_HOPS, MAX_ROUTING_MESSAGE_BYTES } from "./limits.ts";

/**
 * The messages of routing, on the signal lane:
 *
 *     [1, hops, seenBy, body, signature]     an envelope; `hops`: how many more transmissions it may cost
 *     [2, source, id, hops, seenBy]          a bounce: there is no way on from here, and so many were left
 *
 * `seenBy` names the members that have had it, four bytes of the key of each, so that a search does not ask anybody twice.
 * It is what those on the way say, as `hops` is, and the worst that a lie does is what silence does: the envelope is lost.
 * The body is what the source signs, under `starling/envelope/1`: layout, source, destination, id, time, purpose, contents.
 * Whoever carries it reads who sends to whom and how much. Contents that are a secret are sealed before they come here: a
 * signal is a box for its recipient (`session/envelope.ts`). What is not (the number of a probe, the clock of a stored batch,
 * the id in a receipt) goes open, and its signature is the proof of its author.
 */
export type RoutingMessage =
  | {
      readonly type: "envelope";
      readonly search: Search;
      readonly envelope: Envelope;
      readonly sealed: SignedEnvelope;
    }
  | { readonly type: "bounce"; readonly source: PeerId; readonly id: Uint8Array; readonly search: Search };

/** How far the search for a way has come. */
export interface Search {
  /** Transmissions that it may still cost. */
  readonly hops: number;
  /** Who has had the envelope: {@link TAG_BYTES} for each, at most one for each hop. */
  readonly seenBy: Uint8Array;
}

/** What an envelope says. */
export interface Envelope {
  readonly source: PeerId;
  readonly destination: PeerId;
  /** 8 random bytes. */
  readonly id: Uint8Array;
  /** Whole milliseconds since the epoch, by the source's clock. */
  readonly time: number;
  /** A {@link Purpose}, or a number that a later version uses: it is carried all the same. */
  readonly purpose: number;
  readonly contents: Uint8Array;
}

/** An envelope as it is carried: the bytes that were signed, and the signature. */
export interface SignedEnvelope {
  readonly body: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** Whose contents an envelope carries. */
export const Purpose = {
  /** Says that an envelope has arrived: its contents are the id. */
  receipt: 0,
  /** A frame of the probe lane. */
  membership: 1,
  /** A message of the data lane. */
  replication: 2,
  /** A sealed signal. */
  signal: 3,
} as const;

export type Purpose = (typeof Purpose)[keyof typeof Purpose];

/** An envelope's name: its source and its id. */
export type EnvelopeKey = string;

export const ID_BYTES = 8;
/** What names a member in {@link Search}: the first bytes of its key. Two of 10,000 share them once in 100 clusters. */
export const TAG_BYTES = 4;

const ENVELOPE = 1;
const BOUNCE = 2;
/** The layout of the body; a change of layout is another number. */
const LAYOUT = 1;
const SCAN_LIMITS = { depth: 1, items: 8 };

export function keyOf(source: PeerId, id: Uint8Array): EnvelopeKey {
  return source + String.fromCharCode(...id);
}

/** The bytes that the source signs. */
export function encodeBody(envelope: Envelope): Uint8Array {
  const { source, destination, id, time, purpose, contents } = envelope;
  return encode([LAYOUT, publicKeyOf(source), publicKeyOf(destination), id, time, purpose, contents]);
}

export function encodeEnvelope({ body, signature }: SignedEnvelope, { hops, seenBy }: Search): Uint8Array {
  return encode([ENVELOPE, hops, seenBy, body, signature]);
}

export function encodeBounce(source: PeerId, id: Uint8Array, { hops, seenBy }: Search): Uint8Array {
  return encode([BOUNCE, publicKeyOf(source), id, hops, seenBy]);
}

/** The statement that an envelope is. */
export function envelopeStatement(source: PeerId, { body, signature }: SignedEnvelope): Statement {
  return { signer: source, label: "starling/envelope/1", body, signature };
}

/** Decodes one message; undefined when it is malformed or too long. Byte strings in it are views of `message`. */
export function decodeRouting(message: Uint8Array): RoutingMessage | undefined {
  if (message.length > MAX_ROUTING_MESSAGE_BYTES) return undefined;
  const decoded = decode(message, SCAN_LIMITS);
  const items = decoded.ok ? tuple(decoded.value, 5) : undefined;
  if (items === undefined) return undefined;
  if (items[0] === BOUNCE) {
    const source = peer(items[1]);
    const id = bytesOf(items[2], ID_BYTES);
    const search = readSearch(items[3], items[4]);
    return source && id && search && { type: "bounce", source, id, search };
  }
  const search = items[0] === ENVELOPE ? readSearch(items[1], items[2]) : undefined;
  const body = bytes(items[3], MAX_ROUTING_MESSAGE_BYTES);
  const signature = bytesOf(items[4], 64);
  const envelope = body && readBody(body);
  return search && body && signature && envelope && { type: "envelope", search, envelope, sealed: { body, signature } };
}

function readSearch(first: WireValue | undefined, second: WireValue | undefined): Search | undefined {
  const hops = integer(first, 0, MAX_HOPS);
  const seenBy = bytes(second, MAX_HOPS * TAG_BYTES);
  if (hops === undefined || seenBy === undefined || seenBy.length % TAG_BYTES !== 0) return undefined;
  return { hops, seenBy };
}

function readBody(body: Uint8Array): Envelope | undefined {
  const decoded = decode(body, SCAN_LIMITS);
  const items = decoded.ok ? tuple(decoded.value, 7) : undefined;
  if (items === undefined || items[0] !== LAYOUT) return undefined;
  const source = peer(items[1]);
  const destination = peer(items[2]);
  const id = bytesOf(items[3], ID_BYTES);
  const time = integer(items[4]);
  const purpose = integer(items[5], 0, 255);
  const contents = bytes(items[6], MAX_CONTENT_BYTES);
  if (source === undefined || destination === undefined || id === undefined) return undefined;
  if (time === undefined || purpose === undefined || contents === undefined) return undefined;
  return source === destination ? undefined : { source, destination, id, time, purpose, contents };
}
