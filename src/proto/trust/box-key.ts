import { hsalsa } from "@noble/ciphers/salsa.js";

/**
 * HSalsa20 (Bernstein, "Extending the Salsa20 nonce", 2011) turns a 32-byte X25519 secret into the key of a nacl box.
 * node:crypto computes X25519 but not this step.
 */

/** "expand 32-byte k" as four little-endian words. */
const SIGMA = Uint32Array.of(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);
const ZERO_NONCE = new Uint32Array(4);

/** The key of the box between two X25519 keys, from their shared secret of 32 bytes: HSalsa20 with a zero nonce. */
export function boxKey(shared: Uint8Array): Uint8Array {
  const key = new Uint32Array(8);
  // Copied: a view of words must begin at a multiple of four.
  hsalsa(SIGMA, new Uint32Array(shared.slice().buffer), ZERO_NONCE, key);
  return new Uint8Array(key.buffer);
}
