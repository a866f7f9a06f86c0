import type { Instant } from "../machine.ts";
import { type PeerId, publicKeyOf } from "../peer-id.ts";
import type { Statement } from "../signed.ts";
import { CLOCK_LEEWAY_MS } from "../trust/times.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, bytesOf, integer, peer, tuple } from "../wire/shape.ts";
import { MAX_RELAY_HOPS } from "./limits.ts";

/**
 * The two messages that make a relayed channel. They go first on the streams of which it consists, one stream from member to
 * member, and whatever follows is sealed (`sealed-channel.ts`):
 *
 *     [hops, body, signature]     a request; `hops`: how many more streams may be added
 *     [body, signature]           the target's answer
 *
 * Bodies are signed under `starling/relay/1`, so that each forwarder knows on whose account it carries, and each end who is at the
 * other: [1, origin, target, channel, key, time] and [2, origin, target, channel, key, the dialer's key]. `key` is the X25519 key that the
 * sender has made for this channel.
 */
export interface RelayRequest {
  readonly origin: PeerId;
  readonly target: PeerId;
  /** 16 random bytes that name the channel. */
  readonly channel: Uint8Array;
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** Whole milliseconds since the epoch, by the origin's clock. */
  readonly time: number;
}

/** What a target says to a request. */
export interface RelayAnswer {
  readonly origin: PeerId;
  readonly target: PeerId;
  readonly channel: Uint8Array;
  /** The target's key, 32 bytes. */
  readonly key: Uint8Array;
  /** The key of the request that it answers. */
  readonly originKey: Uint8Array;
}

/** Bytes of a body with its signature: what is signed stays as it came. */
export interface SignedBody {
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

export const CHANNEL_BYTES = 16;
export const RELAY_LABEL = "starling/relay/1";
const REQUEST = 1;
const ANSWER = 2;
const MAX_BODY_BYTES = 256;
const SCAN_LIMITS = { depth: 1, items: 8 };

export function encodeRequestBody({ origin, target, channel, key, time }: RelayRequest): Uint8Array {
  return encode([REQUEST, publicKeyOf(origin), publicKeyOf(target), channel, key, time]);
}

export function encodeAnswerBody({ origin, target, channel, key, originKey }: RelayAnswer): Uint8Array {
  return encode([ANSWER, publicKeyOf(origin), publicKeyOf(target), channel, key, originKey]);
}

/** A request with `hops` streams to go. */
export function encodeRelayRequest({ body, signature }: SignedBody, hops: number): Uint8Array {
  return encode([hops, body, signature]);
}

export function encodeRelayAnswer({ body, signature }: SignedBody): Uint8Array {
  return encode([body, signature]);
}

/** Reads a request; undefined when it is malformed. Byte strings are copies. */
export function readRelayRequest(
  message: Uint8Array,
): { readonly request: RelayRequest; readonly hops: number; readonly signed: SignedBody } | undefined {
  const items = read(message, 3);
  const hops = integer(items?.[0], 0, MAX_RELAY_HOPS);
  const signed = readSigned(items?.[1], items?.[2]);
  const parts = signed && readBody(signed.body, REQUEST);
  const time = integer(parts?.last);
  if (hops === undefined || signed === undefined || parts === undefined || time === undefined) return undefined;
  const { origin, target, channel, key } = parts;
  return { request: { origin, target, channel, key, time }, hops, signed };
}

/** Reads an answer; undefined when it is malformed. */
export function readRelayAnswer(
  message: Uint8Array,
): { readonly answer: RelayAnswer; readonly signed: SignedBody } | undefined {
  const items = read(message, 2);
  const signed = readSigned(items?.[0], items?.[1]);
  const parts = signed && readBody(signed.body, ANSWER);
  const originKey = copyOf(parts?.last, 32);
  if (signed === undefined || parts === undefined || originKey === undefined) return undefined;
  const { origin, target, channel, key } = parts;
  return { answer: { origin, target, channel, key, originKey }, signed };
}

/** The statement that a request (by its origin) or an answer (by its target) is. */
export function relayStatement(signer: PeerId, { body, signature }: SignedBody): Statement {
  return { signer, label: RELAY_LABEL, body, signature };
}

/** Whether a request was made lately, as far as clocks agree. */
export function isFresh({ time }: RelayRequest, now: Instant): boolean {
  return time >= now - CLOCK_LEEWAY_MS && time <= now + CLOCK_LEEWAY_MS;
}

function read(message: Uint8Array, length: number) {
  if (message.length > 2 * MAX_BODY_BYTES) return undefined;
  const decoded = decode(message, SCAN_LIMITS);
  return decoded.ok ? tuple(decoded.value, length) : undefined;
}

function readSigned(first: Parameters<typeof bytes>[0], second: Parameters<typeof bytes>[0]): SignedBody | undefined {
  const body = bytes(first, MAX_BODY_BYTES);
  const signature = copyOf(second, 64);
  return body && signature && { body: new Uint8Array(body), signature };
}

function readBody(body: Uint8Array, kind: number) {
  const items = read(body, 6);
  const origin = peer(items?.[1]);
  const target = peer(items?.[2]);
  const channel = copyOf(items?.[3], CHANNEL_BYTES);
  const key = copyOf(items?.[4], 32);
  if (items?.[0] !== kind || origin === undefined || target === undefined || origin === target) return undefined;
  return channel && key && { origin, target, channel, key, last: items[5] };
}

/** A copy: what is decoded is a view of the frame that it came in. */
function copyOf(value: Parameters<typeof bytesOf>[0], length: number): Uint8Array | undefined {
  const view = bytesOf(value, length);
  return view && new Uint8Array(view);
}
