import { Packr } from "msgpackr";
import { concat } from "../bytes.ts";
import { type ScanFault, type ScanLimits, scan } from "./scan.ts";

/**
 * Values on the wire: msgpack arrays of null, booleans, numbers, strings, byte strings and arrays. Every message is an
 * array whose first item says what it is; the owner of a message kind checks the shape of the rest by hand.
 */
export type WireValue = null | boolean | number | string | Uint8Array | readonly WireValue[];

/** The result of decoding bytes from outside. */
export type Decoded =
  | { readonly ok: true; readonly value: WireValue }
  | { readonly ok: false; readonly fault: ScanFault };

const packr = new Packr({ useRecords: false, moreTypes: false, largeBigIntToFloat: true });

/** A byte string of this length is put in its place by us: the library would copy it several times over while its own buffer grows. */
const LARGE_BYTES = 65_536;

/** Items of an array whose length is said in one byte. */
const MAX_SHORT_ARRAY = 15;

/** Encodes a value into fresh bytes that nothing else refers to. Large byte strings in the outermost array are copied once. */
export function encode(value: WireValue): Uint8Array {
  if (!Array.isArray(value) || value.length > MAX_SHORT_ARRAY) return pack(value);
  const fields = value as readonly WireValue[];
  if (!fields.some(isLarge)) return pack(value);
  const parts = fields.flatMap((field) => (isLarge(field) ? [binaryHead(field.length), field] : [pack(field)]));
  return concat(Uint8Array.of(0x90 | fields.length), ...parts);
}

function pack(value: WireValue): Uint8Array {
  return new Uint8Array(packr.pack(value));
}

function isLarge(value: WireValue): value is Uint8Array {
  return value instanceof Uint8Array && value.length >= LARGE_BYTES;
}

/** What stands before a byte string of 65,536 bytes or more. */
function binaryHead(length: number): Uint8Array {
  const head = new Uint8Array(5);
  head[0] = 0xc6;
  new DataView(head.buffer).setUint32(1, length);
  return head;
}

/** Decodes one value. Byte strings in the result are views of `bytes`. Never throws. */
export function decode(bytes: Uint8Array, limits: ScanLimits): Decoded {
  const fault = scan(bytes, limits);
  if (fault !== undefined) return { ok: false, fault };
  return { ok: true, value: packr.unpack(bytes) as WireValue };
}
