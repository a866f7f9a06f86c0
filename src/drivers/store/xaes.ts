import { NONCE_BYTES } from "./envelope.ts";

/**
 * XAES-256-GCM, as specified by the Community Cryptography Specification Project (c2sp.org/XAES-256-GCM): the parts that
 * need no cipher. The key of a message is two blocks of AES-256 over a counter, a letter and the first half of the nonce,
 * masked as in CMAC; the second half of the nonce is that of AES-256-GCM under the derived key.
 */

/** The mask of a key (K1 of CMAC) from the encryption of a block of zeros. */
export function maskKey(zeroBlock: Uint8Array): Uint8Array {
  const mask = new Uint8Array(16);
  for (let index = 0; index < 16; index++) {
    mask[index] = ((zeroBlock[index] as number) << 1) | ((zeroBlock[index + 1] ?? 0) >>> 7);
  }
  // Without a branch: the mask is as secret as the key.
  mask[15] = (mask[15] as number) ^ (0x87 & -((zeroBlock[0] as number) >>> 7));
  return mask;
}

/** The two blocks, 32 bytes, whose encryption block by block is the key for messages with this nonce. */
export function derivationBlocks(mask: Uint8Array, nonce: Uint8Array): Uint8Array {
  const blocks = new Uint8Array(32);
  for (const [start, counter] of [
    [0, 1],
    [16, 2],
  ] as const) {
    blocks[start + 1] = counter;
    blocks[start + 2] = 0x58;
    blocks.set(nonce.subarray(0, NONCE_BYTES / 2), start + 4);
    for (let index = 0; index < 16; index++) {
      blocks[start + index] = (blocks[start + index] as number) ^ (mask[index] as number);
    }
  }
  return blocks;
}
