/**
 * The gate before the decoder: one pass over untrusted msgpack that allocates nothing and recurses nowhere.
 *
 * A permissive decoder crashes a process in two ways: a length that promises more than there is (allocation), and depth
 * (the stack, in the decoder or in whatever walks its result). This pass refuses both first, and everything that Starling
 * never sends: maps (no key order, no `__proto__`), extensions, 64-bit integers, trailing bytes.
 *
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md
 */

/** Bounds of one decoded value. */
export interface ScanLimits {
  /** Arrays within arrays, the outermost counted as 1. */
  readonly depth: number;
  /** All values together, containers included. */
  readonly items: number;
}

/** Why bytes were refused; `undefined` from {@link scan} means acceptable. */
export type ScanFault = "truncated" | "trailing" | "too-deep" | "too-many" | "forbidden-type";

// A stack of at most 32 remaining-item counters; `depth` limits are far below it.
const remaining = new Uint32Array(32);

/** Checks that `bytes` are exactly one acceptable value within `limits`; returns the fault otherwise. */
export function scan(bytes: Uint8Array, limits: ScanLimits): ScanFault | undefined {
  const end = bytes.length;
  let offset = 0;
  let items = 0;
  let depth = 0;
  for (;;) {
    if (offset >= end) return "truncated";
    if (++items > limits.items) return "too-many";
    const tag = bytes[offset++] as number;
    let skip = 0;
    let children = -1;
    if (tag <= 0x7f || tag >= 0xe0) skip = 0;
    else if (tag >= 0x90 && tag <= 0x9f) children = tag & 0x0f;
    else if (tag >= 0xa0 && tag <= 0xbf) skip = tag & 0x1f;
    else {
      const lengthBytes = LENGTH_BYTES[tag] as number;
      if (lengthBytes < 0) return "forbidden-type";
      if (offset + lengthBytes > end) return "truncated";
      if (tag >= 0xca && tag <= 0xd2) skip = lengthBytes;
      else {
        let declared = 0;
        for (let index = 0; index < lengthBytes; index++) declared = declared * 256 + (bytes[offset + index] as number);
        offset += lengthBytes;
        if (tag === 0xdc || tag === 0xdd) children = declared;
        else skip = declared;
      }
    }
    offset += skip;
    if (offset > end) return "truncated";
    if (children >= 0) {
      // Every child takes a byte at least, so an array cannot promise more than the bytes that are left.
      if (children > end - offset) return "truncated";
      if (depth >= limits.depth || depth >= remaining.length) return "too-deep";
      remaining[depth++] = children;
    }
    while (depth > 0 && remaining[depth - 1] === 0) depth--;
    if (depth === 0) return offset === end ? undefined : "trailing";
    remaining[depth - 1] = (remaining[depth - 1] as number) - 1;
  }
}

/**
 * By tag: how many bytes follow as a number or as a length; -1 for what Starling never sends. 0xc0 nil, 0xc2 and 0xc3
 * booleans, 0xc4 to 0xc6 bin, 0xca and 0xcb floats, 0xcc to 0xce uint, 0xd0 to 0xd2 int, 0xd9 to 0xdb str, 0xdc and 0xdd array.
 */
const LENGTH_BYTES = new Int8Array(256).fill(-1);
for (const [tag, length] of [
  [0xc0, 0],
  [0xc2, 0],
  [0xc3, 0],
  [0xc4, 1],
  [0xc5, 2],
  [0xc6, 4],
  [0xca, 4],
  [0xcb, 8],
  [0xcc, 1],
  [0xcd, 2],
  [0xce, 4],
  [0xd0, 1],
  [0xd1, 2],
  [0xd2, 4],
  [0xd9, 1],
  [0xda, 2],
  [0xdb, 4],
  [0xdc, 2],
  [0xdd, 4],
] as const)
  LENGTH_BYTES[tag] = length;
