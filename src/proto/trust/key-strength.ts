import { base64, fromBase64 } from "../base64.ts";

/**
 * Whether a secret key looks random.
 *
 * Keys reach a cluster through files, invites and people. A key from documentation, a typed word, a counter or a block of
 * zeros works as well as any other, until somebody else thinks of it too. Each rule here passes 32 random bytes with a
 * failure probability below 2^-40, so a key from a CSPRNG is never refused in practice. Passing proves nothing: the rules
 * catch accidents, not a bad generator.
 */

/** Every symmetric key and Ed25519 seed in Starling, bytes. */
export const KEY_BYTES = 32;

/** Why a key is refused. */
export type KeyWeakness = "wrong-length" | "published" | "repeating" | "sequence" | "text" | "low-entropy";

/** Keys that stand in published documents, base64. */
const PUBLISHED: readonly string[] = ["7RB0TPs+d/VuD3rL/7ZD2JEcpA14aNCBvLOPHwEBy9s="];

/** 32 random bytes hold 30 different values on average; fewer than 17 happens once in 2^48. */
const LEAST_DISTINCT_BYTES = 17;

/** What is wrong with `key`; undefined when nothing is. */
export function keyWeakness(key: Uint8Array): KeyWeakness | undefined {
  if (key.length !== KEY_BYTES) return "wrong-length";
  if (PUBLISHED.includes(base64(key))) return "published";
  if (repeats(key)) return "repeating";
  if (isSequence(key)) return "sequence";
  if (key.every(isPrintable)) return "text";
  return new Set(key).size < LEAST_DISTINCT_BYTES ? "low-entropy" : undefined;
}

/** What is wrong with a key, in words that complete "the key …". */
export function describeWeakness(weakness: KeyWeakness): string {
  switch (weakness) {
    case "wrong-length":
      return `is not ${KEY_BYTES} bytes long`;
    case "published":
      return "is a published example that everybody knows";
    case "repeating":
      return "repeats a short pattern";
    case "sequence":
      return "is a sequence of evenly spaced numbers";
    case "text":
      return "is text, not random bytes";
    case "low-entropy":
      return "has too few different bytes to be random";
  }
}

/** The key in canonical base64, if it is strong; the weakness otherwise. */
export function parseKey(text: string): Uint8Array | KeyWeakness {
  const key = fromBase64(text);
  if (key === undefined) return "wrong-length";
  return keyWeakness(key) ?? key;
}

function repeats(key: Uint8Array): boolean {
  for (let period = 1; period <= KEY_BYTES / 2; period++) {
    let index = period;
    while (index < key.length && key[index] === key[index - period]) index++;
    if (index === key.length) return true;
  }
  return false;
}

function isSequence(key: Uint8Array): boolean {
  const step = ((key[1] as number) - (key[0] as number)) & 0xff;
  for (let index = 2; index < key.length; index++) {
    if ((((key[index] as number) - (key[index - 1] as number)) & 0xff) !== step) return false;
  }
  return true;
}

function isPrintable(byte: number): boolean {
  return (byte >= 0x20 && byte < 0x7f) || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}
