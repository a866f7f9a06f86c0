import { below, type Random, randomBytes } from "../../src/proto/random.ts";

/** Spoils good inputs: most of what comes out passes the first check of a parser and fails a later one. */

/** Numbers at which lengths, signs and widths turn over. */
const EDGES = [0, 1, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc4, 0xcf, 0xd3, 0xdc, 0xdd, 0xdf, 0xff];

/** `seed` with one to four things done to it; `others`: where a piece may come from. */
export function mutate(seed: Uint8Array, others: readonly Uint8Array[], random: Random): Uint8Array {
  let bytes: Uint8Array = seed.slice();
  for (let left = 1 + below(random, 4); left > 0; left--) bytes = mutateOnce(bytes, others, random);
  return bytes;
}

function mutateOnce(bytes: Uint8Array, others: readonly Uint8Array[], random: Random): Uint8Array {
  const at = bytes.length === 0 ? 0 : below(random, bytes.length);
  switch (below(random, 8)) {
    case 0:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << below(random, 8));
      return bytes;
    case 1:
      bytes[at] = EDGES[below(random, EDGES.length)] as number;
      return bytes;
    case 2:
      return bytes.slice(0, at);
    case 3:
      return joined(bytes.subarray(0, at), randomBytes(random, 1 + below(random, 8)), bytes.subarray(at));
    case 4: {
      const cut = at + 1 + below(random, 8);
      return joined(bytes.subarray(0, at), bytes.subarray(Math.min(cut, bytes.length)));
    }
    case 5: {
      const again = bytes.subarray(at, at + 1 + below(random, 32));
      return joined(bytes.subarray(0, at), again, bytes.subarray(at));
    }
    case 6: {
      const other = others[below(random, others.length)] as Uint8Array;
      return joined(bytes.subarray(0, at), other.subarray(other.length === 0 ? 0 : below(random, other.length)));
    }
    default: {
      for (let index = at; index < Math.min(bytes.length, at + 4); index++) bytes[index] = below(random, 256);
      return bytes;
    }
  }
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts).subarray(0, MAX_BYTES));
}

/** Inputs do not grow without end. */
const MAX_BYTES = 70_000;
