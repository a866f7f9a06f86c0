/**
 * Unsigned integers of 1 to 8 bytes, 7 bits each, least significant first (LEB128), up to 2^53 - 1. Only the shortest
 * form is accepted, so the length of what was read follows from its value and no reader object is needed.
 */

/** Returned by {@link readVarint} instead of a value. */
export const NO_VARINT = -1;

/** Bytes that `value` takes; `value`: 0 to 2^53 - 1. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < 0x1000_0000) return 4;
  let size = 4;
  for (let rest = Math.floor(value / 0x1000_0000); rest > 0; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Writes `value` (0 to 2^53 - 1) at `offset` and returns the offset after it; the caller has made sure of the room. */
export function writeVarint(bytes: Uint8Array, offset: number, value: number): number {
  let rest = value;
  let at = offset;
  while (rest >= 0x8000_0000) {
    bytes[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

/**
 * The value at `offset`, before `end`; {@link NO_VARINT} when it is cut short, not in its shortest form, or beyond 2^53
 * - 1. It ends at `offset + varintSize(value)`.
 */
export function readVarint(bytes: Uint8Array, offset: number, end: number): number {
  let value = 0;
  let scale = 1;
  for (let at = offset; at < end; at++) {
    const byte = bytes[at] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      const shortest = byte !== 0 || at === offset;
      return shortest && value <= Number.MAX_SAFE_INTEGER ? value : NO_VARINT;
    }
    if (at - offset === 7) return NO_VARINT;
    scale *= 128;
  }
  return NO_VARINT;
}
