import { type PeerId, publicKeyOf } from "../peer-id.ts";
import type { Statement } from "../signed.ts";
import { decode, encode } from "../wire/codec.ts";
import { bytes, bytesOf, integer, peer, text, tuple } from "../wire/shape.ts";
import { MAX_POST_BYTES, MAX_POST_MESSAGE_BYTES, MAX_TOPIC_LENGTH } from "./limits.ts";

/** What a member publishes on a topic. */
export interface Post {
  readonly author: PeerId;
  readonly topic: string;
  /** Whole milliseconds since the epoch, by the author's clock. */
  readonly time: number;
  /** 8 random bytes: equal payloads published twice are two posts. */
  readonly nonce: Uint8Array;
  /** At most 16 KiB. */
  readonly payload: Uint8Array;
}

export const NONCE_BYTES = 8;
/** The layout of the signed bytes; a change of layout is another number. */
const LAYOUT = 1;
const TOPIC = /^[A-Za-z0-9][A-Za-z0-9._~/-]*$/;

/** Whether `name` is a topic: 1 to 64 of `A-Z a-z 0-9 . _ ~ / -`, the first a letter or digit. */
export function isTopic(name: string): boolean {
  return name.length <= MAX_TOPIC_LENGTH && TOPIC.test(name);
}

/** The bytes that the author signs under `starling/post/1`. */
export function encodePost({ author, topic, time, nonce, payload }: Post): Uint8Array {
  return encode([LAYOUT, publicKeyOf(author), topic, time, nonce, payload]);
}

/** What is broadcast: the signed bytes and their signature. */
export function encodePostMessage(body: Uint8Array, signature: Uint8Array): Uint8Array {
  return encode([body, signature]);
}

/** Reads a broadcast payload; undefined when it is no post. Byte strings are views of `message`. Never throws. */
export function decodePostMessage(
  message: Uint8Array,
): { readonly post: Post; readonly statement: Statement } | undefined {
  if (message.length > MAX_POST_MESSAGE_BYTES) return undefined;
  const decoded = decode(message, { depth: 1, items: 3 });
  const pair = decoded.ok ? tuple(decoded.value, 2) : undefined;
  const body = bytes(pair?.[0], MAX_POST_MESSAGE_BYTES);
  const signature = bytesOf(pair?.[1], 64);
  const post = body && readPost(body);
  if (body === undefined || signature === undefined || post === undefined) return undefined;
  return { post, statement: { signer: post.author, label: "starling/post/1", body, signature } };
}

function readPost(body: Uint8Array): Post | undefined {
  const decoded = decode(body, { depth: 1, items: 7 });
  const items = decoded.ok ? tuple(decoded.value, 6) : undefined;
  if (items === undefined || items[0] !== LAYOUT) return undefined;
  const author = peer(items[1]);
  const topic = text(items[2], MAX_TOPIC_LENGTH);
  const time = integer(items[3]);
  const nonce = bytesOf(items[4], NONCE_BYTES);
  const payload = bytes(items[5], MAX_POST_BYTES);
  if (author === undefined || topic === undefined || time === undefined) return undefined;
  if (nonce === undefined || payload === undefined || !isTopic(topic)) return undefined;
  return { author, topic, time, nonce, payload };
}
