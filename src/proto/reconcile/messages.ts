import { decode, encode, type WireValue } from "../wire/codec.ts";
import { bytesOf, flag, integer } from "../wire/shape.ts";
import { PRINT_BYTES } from "./estimate.ts";
import { IdList } from "./id-list.ts";
import { MAX_CELLS_PER_MESSAGE, MAX_IDS_PER_MESSAGE, MAX_LEVEL } from "./limits.ts";
import { ID_BYTES, SALT_BYTES } from "./mixing.ts";
import { CELL_BYTES } from "./sketch.ts";

/**
 * What two sides of an exchange say: msgpack arrays that begin with a kind and the asking side's number for the
 * exchange. Kinds begin at 32, so that they can share a lane with those of replication.
 *
 *     [32, seq, salt, root, size]     asks: is this the print of your set under this salt? I have `size` ids
 *     [33, seq]                       answers: yes
 *     [34, seq]                       answers anything: I take part in another exchange, or have forgotten this one
 *     [35, seq, salt, size, prints]   answers: no; my share of the salt, my size, my strata
 *     [36, seq, level, bits, section, cells]   asks: decode; the next cells of this section's sketch
 *     [37, seq]                       answers one of these: more cells are needed
 *     [38, seq, wanted, offered, leaves, ids, mixed, last]   answers: I lack these of your ids, you lack these of mine;
 *                                     these leaves differ in more than one id, and these are all my ids in them;
 *                                     in these leaves too, ask for them; `last`: that is all
 *     [39, seq]                       asks for the next such answer
 *     [40, seq, level, from, to, bits, part]   asks for the ids in leaves `from` up to, without, `to`; of these the
 *                                     part whose hash begins with these bits
 *     [41, seq, next, bits, ids]      answers: all up to leaf `next`; or, with `bits` > 0, ask for leaf `from` in parts
 *                                     of so many bits; 255: not at all
 *     [42, seq, ids]                  you lack these of my ids
 *     [43, seq]                       my exchange with you is over
 *
 * Lists of ids, leaves (4 bytes each) and cells are byte strings of little-endian words.
 */
const Kind = {
  open: 32,
  equal: 33,
  busy: 34,
  differ: 35,
  cells: 36,
  more: 37,
  found: 38,
  next: 39,
  list: 40,
  listing: 41,
  offer: 42,
  end: 43,
} as const;

/** Bytes of the print of a whole set. */
export const ROOT_BYTES = 16;

/** `bits` of a listing that leaves a leaf out: it is too heavy. */
export const LEFT_OUT = 255;

/** The most bits by which a leaf is divided: 65,536 ids, 4,096 in a part, with room for chance. */
export const MAX_PART_BITS = 6;

/** A message of the asking side. */
export type Request =
  | {
      readonly type: "open";
      readonly seq: number;
      readonly salt: Uint8Array;
      readonly root: Uint8Array;
      readonly size: number;
    }
  | {
      readonly type: "cells";
      readonly seq: number;
      readonly level: number;
      readonly bits: number;
      readonly section: number;
      readonly cells: Uint8Array;
    }
  | { readonly type: "next"; readonly seq: number }
  | ({ readonly type: "list"; readonly seq: number } & ListedRange)
  | { readonly type: "offer"; readonly seq: number; readonly ids: IdList }
  | { readonly type: "end"; readonly seq: number };

/** Leaves whose ids are listed, or a part of one leaf's. */
export interface ListedRange {
  readonly level: number;
  readonly from: number;
  readonly to: number;
  readonly bits: number;
  readonly part: number;
}

/** A message of the answering side. */
export type Answer =
  | { readonly type: "equal"; readonly seq: number }
  | { readonly type: "busy"; readonly seq: number }
  | {
      readonly type: "differ";
      readonly seq: number;
      readonly salt: Uint8Array;
      readonly size: number;
      readonly prints: Uint8Array;
    }
  | { readonly type: "more"; readonly seq: number }
  | ({ readonly type: "found"; readonly seq: number } & FoundPage)
  | {
      readonly type: "listing";
      readonly seq: number;
      readonly next: number;
      readonly bits: number;
      readonly ids: IdList;
    };

/** One message of what the answering side has found. */
export interface FoundPage {
  readonly wanted: IdList;
  readonly offered: IdList;
  readonly leaves: readonly number[];
  readonly ids: IdList;
  readonly mixed: readonly number[];
  readonly last: boolean;
}

/** Encodes a message. */
export function encodeMessage(message: Request | Answer): Uint8Array {
  return encode(toWire(message));
}

function toWire(message: Request | Answer): WireValue {
  const { seq } = message;
  switch (message.type) {
    case "open":
      return [Kind.open, seq, message.salt, message.root, message.size];
    case "differ":
      return [Kind.differ, seq, message.salt, message.size, message.prints];
    case "cells":
      return [Kind.cells, seq, message.level, message.bits, message.section, message.cells];
    case "found": {
      const { wanted, offered, leaves, ids, mixed, last } = message;
      const packed = packLeaves(leaves);
      return [Kind.found, seq, wanted.toBytes(), offered.toBytes(), packed, ids.toBytes(), packLeaves(mixed), last];
    }
    case "list":
      return [Kind.list, seq, message.level, message.from, message.to, message.bits, message.part];
    case "listing":
      return [Kind.listing, seq, message.next, message.bits, message.ids.toBytes()];
    case "offer":
      return [Kind.offer, seq, message.ids.toBytes()];
    default:
      return [Kind[message.type], seq];
  }
}

function packLeaves(leaves: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(leaves.length * 4);
  const view = new DataView(bytes.buffer);
  leaves.forEach((leaf, index) => {
    view.setUint32(index * 4, leaf, true);
  });
  return bytes;
}

function leavesIn(value: WireValue | undefined): readonly number[] | undefined {
  const bytes = multipleOf(value, 4, MAX_IDS_PER_MESSAGE);
  if (bytes === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(index * 4, true));
}

function multipleOf(value: WireValue | undefined, unit: number, most: number): Uint8Array | undefined {
  return value instanceof Uint8Array && value.length % unit === 0 && value.length <= unit * most ? value : undefined;
}

function idsIn(value: WireValue | undefined): IdList | undefined {
  // A page of findings is filled leaf by leaf and may hold one full leaf more than half a page.
  const bytes = multipleOf(value, ID_BYTES, MAX_IDS_PER_MESSAGE * 2);
  return bytes === undefined ? undefined : IdList.fromBytes(bytes);
}

/** The longest message has 8 values in one array; the gate is as tight. */
const SCAN_LIMITS = { depth: 1, items: 9 };

/** The message in `bytes`; undefined when it is none. Never throws. */
export function parseMessage(bytes: Uint8Array): Request | Answer | undefined {
  const decoded = decode(bytes, SCAN_LIMITS);
  if (!decoded.ok || !Array.isArray(decoded.value)) return undefined;
  const fields = decoded.value as readonly WireValue[];
  const seq = integer(fields[1], 0, 0xffffffff);
  const length = LENGTHS[fields[0] as number];
  return seq === undefined || fields.length !== length ? undefined : parse(seq, fields);
}

const LENGTHS: Readonly<Record<number, number>> = {
  [Kind.open]: 5,
  [Kind.equal]: 2,
  [Kind.busy]: 2,
  [Kind.differ]: 5,
  [Kind.cells]: 6,
  [Kind.more]: 2,
  [Kind.found]: 8,
  [Kind.next]: 2,
  [Kind.list]: 7,
  [Kind.listing]: 5,
  [Kind.offer]: 3,
  [Kind.end]: 2,
};

function parse(seq: number, fields: readonly WireValue[]): Request | Answer | undefined {
  switch (fields[0]) {
    case Kind.open: {
      const salt = bytesOf(fields[2], SALT_BYTES);
      const root = bytesOf(fields[3], ROOT_BYTES);
      const size = integer(fields[4]);
      return salt && root && size !== undefined ? { type: "open", seq, salt, root, size } : undefined;
    }
    case Kind.differ: {
      const salt = bytesOf(fields[2], SALT_BYTES);
      const size = integer(fields[3]);
      const prints = bytesOf(fields[4], PRINT_BYTES);
      return salt && size !== undefined && prints ? { type: "differ", seq, salt, size, prints } : undefined;
    }
    case Kind.cells:
      return parseCells(seq, fields);
    case Kind.found:
      return parseFound(seq, fields);
    case Kind.list:
      return parseList(seq, fields);
    case Kind.listing: {
      const next = integer(fields[2], 0, 1 << MAX_LEVEL);
      const bits = integer(fields[3], 0, LEFT_OUT);
      const ids = idsIn(fields[4]);
      return next !== undefined && bits !== undefined && ids ? { type: "listing", seq, next, bits, ids } : undefined;
    }
    case Kind.offer: {
      const ids = idsIn(fields[2]);
      return ids && { type: "offer", seq, ids };
    }
    case Kind.equal:
      return { type: "equal", seq };
    case Kind.busy:
      return { type: "busy", seq };
    case Kind.more:
      return { type: "more", seq };
    case Kind.next:
      return { type: "next", seq };
    case Kind.end:
      return { type: "end", seq };
    default:
      return undefined;
  }
}

function parseCells(seq: number, fields: readonly WireValue[]): Request | undefined {
  const level = integer(fields[2], 0, MAX_LEVEL);
  if (level === undefined) return undefined;
  const bits = integer(fields[3], 0, level);
  if (bits === undefined) return undefined;
  const section = integer(fields[4], 0, (1 << bits) - 1);
  const cells = multipleOf(fields[5], CELL_BYTES, MAX_CELLS_PER_MESSAGE);
  if (section === undefined || cells === undefined || cells.length === 0) return undefined;
  return { type: "cells", seq, level, bits, section, cells };
}

function parseFound(seq: number, fields: readonly WireValue[]): Answer | undefined {
  const wanted = idsIn(fields[2]);
  const offered = idsIn(fields[3]);
  const leaves = leavesIn(fields[4]);
  const ids = idsIn(fields[5]);
  const mixed = leavesIn(fields[6]);
  const last = flag(fields[7]);
  if (!wanted || !offered || !leaves || !ids || !mixed || last === undefined) return undefined;
  return { type: "found", seq, wanted, offered, leaves, ids, mixed, last };
}

function parseList(seq: number, fields: readonly WireValue[]): Request | undefined {
  const level = integer(fields[2], 0, MAX_LEVEL);
  if (level === undefined) return undefined;
  const from = integer(fields[3], 0, (1 << level) - 1);
  const to = integer(fields[4], 1, 1 << level);
  const bits = integer(fields[5], 0, MAX_PART_BITS);
  if (from === undefined || to === undefined || bits === undefined || to <= from) return undefined;
  const part = integer(fields[6], 0, (1 << bits) - 1);
  if (part === undefined || (bits > 0 && to !== from + 1)) return undefined;
  return { type: "list", seq, level, from, to, bits, part };
}
