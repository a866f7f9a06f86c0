import { Packr } from "msgpackr";
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

/** Encodes a value into fresh bytes that nothing else refers to. */
export function encode(value: WireValue): Uint8Array {
  return new Uint8Array(packr.pack(value));
}

/** Decodes one value. Byte strings in the result are views of `bytes`. Never throws. */
export function decode(bytes: Uint8Array, limits: ScanLimits): Decoded {
  const fault = scan(bytes, limits);
  if (fault !== undefined) return { ok: false, fault };
  return { ok: true, value: packr.unpack(bytes) as WireValue };
}
