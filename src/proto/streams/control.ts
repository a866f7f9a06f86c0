import { unreachable } from "../assert.ts";
import { fromUtf8, utf8 } from "../bytes.ts";
import { Kind } from "./chunk.ts";
import type { GoodbyeReason, RefusalReason, StreamPriority } from "./events.ts";
import { EARLY_CREDIT_BYTES, MAX_CREDIT_BYTES, MAX_PROTOCOL_BYTES } from "./limits.ts";
import { NO_VARINT, readVarint, varintSize, writeVarint } from "./varint.ts";

/**
 * Control chunks: one byte that says what, then varints, then (for an open) a name. A few bytes each, coded by hand,
 * because acknowledgements and credits travel with every few frames.
 */

/** Controls of the link itself, on stream 0. */
export type LinkControl =
  /** Numbered frames received since the session began, and how long the last of them has waited for this. */
  | { readonly op: "ack"; readonly frames: number; readonly delayMs: number }
  | { readonly op: "ping"; readonly id: number }
  | { readonly op: "pong"; readonly id: number }
  /** The first word on a channel that takes the place of another: the numbered frames after the first `frames` follow. */
  | { readonly op: "begin"; readonly frames: number }
  | { readonly op: "goodbye"; readonly reason: GoodbyeReason };

/** Controls of an application stream. */
export type StreamControl =
  /** The first of a stream: what is spoken on it, how urgent, and how many bytes the opener takes at once. */
  | { readonly op: "open"; readonly windowBytes: number; readonly priority: StreamPriority; readonly protocol: string }
  /** The answerer takes the stream, and `windowBytes` in all where the opener assumed {@link EARLY_CREDIT_BYTES}. */
  | { readonly op: "accept"; readonly windowBytes: number }
  | { readonly op: "refuse"; readonly reason: RefusalReason }
  /** The receiver takes `bytes` more. */
  | { readonly op: "credit"; readonly bytes: number }
  /** No message follows in this direction. */
  | { readonly op: "fin" }
  /** The stream is over in both directions, at once. */
  | { readonly op: "reset"; readonly code: number };

/** Why a control chunk was not understood. */
export type ControlFault = "unknown-op" | "malformed-control";

const Op = {
  open: 1,
  accept: 2,
  refuse: 3,
  credit: 4,
  fin: 5,
  reset: 6,
  ack: 16,
  ping: 17,
  pong: 18,
  goodbye: 19,
  begin: 20,
} as const;

// On the wire the position in these lists; append only.
const PRIORITIES: readonly StreamPriority[] = ["interactive", "normal", "bulk"];
const REFUSALS: readonly RefusalReason[] = ["unknown-protocol", "forbidden", "busy", "too-many-streams", "stopping"];
const GOODBYES: readonly GoodbyeReason[] = ["leaving", "unwanted", "replaced", "expelled", "expired", "protocol"];

const NO_TAIL: Uint8Array = new Uint8Array(0);

/** The whole control chunk, head included. */
export function encodeLinkControl(control: LinkControl): Uint8Array {
  switch (control.op) {
    case "ack":
      // Tenths of a millisecond: enough to see a 0.2 ms path behind a 2 ms wait.
      return chunk(0, Op.ack, control.frames, Math.round(control.delayMs * 10));
    case "ping":
      return chunk(0, Op.ping, control.id);
    case "pong":
      return chunk(0, Op.pong, control.id);
    case "begin":
      return chunk(0, Op.begin, control.frames);
    case "goodbye":
      return chunk(0, Op.goodbye, GOODBYES.indexOf(control.reason));
    default:
      return unreachable(control);
  }
}

/** The whole control chunk, head included. */
export function encodeStreamControl(stream: number, control: StreamControl): Uint8Array {
  switch (control.op) {
    case "open": {
      const priority = PRIORITIES.indexOf(control.priority);
      return chunk(stream, Op.open, control.windowBytes, priority, utf8(control.protocol));
    }
    case "accept":
      return chunk(stream, Op.accept, control.windowBytes);
    case "refuse":
      return chunk(stream, Op.refuse, REFUSALS.indexOf(control.reason));
    case "credit":
      return chunk(stream, Op.credit, control.bytes);
    case "fin":
      return chunk(stream, Op.fin);
    case "reset":
      return chunk(stream, Op.reset, control.code);
    default:
      return unreachable(control);
  }
}

function chunk(stream: number, op: number, first = NO_VARINT, second = NO_VARINT, tail = NO_TAIL): Uint8Array {
  const head = stream * 4 + Kind.control;
  const firstSize = first === NO_VARINT ? 0 : varintSize(first);
  const secondSize = second === NO_VARINT ? 0 : varintSize(second);
  const length = 1 + firstSize + secondSize + tail.length;
  const bytes = new Uint8Array(varintSize(head) + varintSize(length) + length);
  let at = writeVarint(bytes, writeVarint(bytes, 0, head), length);
  bytes[at++] = op;
  if (firstSize > 0) at = writeVarint(bytes, at, first);
  if (secondSize > 0) at = writeVarint(bytes, at, second);
  bytes.set(tail, at);
  return bytes;
}

/** Decodes the payload of a control chunk of stream 0. */
export function decodeLinkControl(bytes: Uint8Array, start: number, end: number): LinkControl | ControlFault {
  if (start >= end) return "malformed-control";
  const op = bytes[start] as number;
  if (op < Op.ack || op > Op.begin) return "unknown-op";
  const first = readVarint(bytes, start + 1, end);
  if (first === NO_VARINT) return "malformed-control";
  const after = start + 1 + varintSize(first);
  if (op === Op.ack) {
    const delay = readVarint(bytes, after, end);
    if (delay === NO_VARINT || after + varintSize(delay) !== end) return "malformed-control";
    return { op: "ack", frames: first, delayMs: delay / 10 };
  }
  if (after !== end) return "malformed-control";
  if (op === Op.ping) return { op: "ping", id: first };
  if (op === Op.pong) return { op: "pong", id: first };
  if (op === Op.begin) return { op: "begin", frames: first };
  const reason = GOODBYES[first];
  return reason === undefined ? "malformed-control" : { op: "goodbye", reason };
}

/** Decodes the payload of a control chunk of an application stream. */
export function decodeStreamControl(bytes: Uint8Array, start: number, end: number): StreamControl | ControlFault {
  if (start >= end) return "malformed-control";
  const op = bytes[start] as number;
  if (op < Op.open || op > Op.reset) return "unknown-op";
  if (op === Op.fin) return start + 1 === end ? { op: "fin" } : "malformed-control";
  const first = readVarint(bytes, start + 1, end);
  if (first === NO_VARINT) return "malformed-control";
  const after = start + 1 + varintSize(first);
  if (op === Op.open) return decodeOpen(bytes, after, end, first);
  if (after !== end) return "malformed-control";
  if (op === Op.accept) return fits(first) ? { op: "accept", windowBytes: first } : "malformed-control";
  if (op === Op.credit) return { op: "credit", bytes: first };
  if (op === Op.reset) return first <= 0xffff_ffff ? { op: "reset", code: first } : "malformed-control";
  const reason = REFUSALS[first];
  return reason === undefined ? "malformed-control" : { op: "refuse", reason };
}

function decodeOpen(bytes: Uint8Array, start: number, end: number, windowBytes: number): StreamControl | ControlFault {
  const priority = start < end ? PRIORITIES[bytes[start] as number] : undefined;
  const length = end - start - 1;
  if (priority === undefined || !fits(windowBytes) || length < 1 || length > MAX_PROTOCOL_BYTES)
    return "malformed-control";
  const protocol = fromUtf8(bytes.subarray(start + 1, end));
  return protocol === undefined ? "malformed-control" : { op: "open", windowBytes, priority, protocol };
}

function fits(windowBytes: number): boolean {
  return windowBytes >= EARLY_CREDIT_BYTES && windowBytes <= MAX_CREDIT_BYTES;
}

/** Whether `protocol` is 1 to {@link MAX_PROTOCOL_BYTES} bytes of UTF-8. */
export function isProtocolName(protocol: string): boolean {
  const length = utf8(protocol).length;
  return length >= 1 && length <= MAX_PROTOCOL_BYTES;
}
