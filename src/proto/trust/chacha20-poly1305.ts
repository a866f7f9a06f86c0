import { equalBytes } from "../bytes.ts";
import type { Aead } from "./crypto.ts";

/**
 * ChaCha20-Poly1305 as RFC 8439 defines it, for places without a native one: browsers, and Electron's main process, whose
 * BoringSSL does not offer it to Node. The bytes are those of node:crypto.
 *
 * Written for size and plainness, not speed (some 20 MB/s). No branch or index depends on secrets.
 */

const TAG_BYTES = 16;

/** An {@link Aead} under a 32-byte key. */
export function chacha20Poly1305(key: Uint8Array): Aead {
  const own = key.slice();
  return {
    seal(nonce, plain, associated) {
      const sealed = new Uint8Array(plain.length + TAG_BYTES);
      const body = sealed.subarray(0, plain.length);
      body.set(plain);
      applyKeystream(own, nonce, 1, body);
      sealed.set(tagOf(own, nonce, body, associated), plain.length);
      return sealed;
    },
    open(nonce, sealed, associated) {
      if (sealed.length < TAG_BYTES) return undefined;
      const body = sealed.slice(0, sealed.length - TAG_BYTES);
      if (!equalBytes(tagOf(own, nonce, body, associated), sealed.subarray(body.length))) return undefined;
      applyKeystream(own, nonce, 1, body);
      return body;
    },
  };
}

/** XORs the keystream from block `counter` on into `data`. */
function applyKeystream(key: Uint8Array, nonce: Uint8Array, counter: number, data: Uint8Array): void {
  const state = new Uint32Array(16);
  state.set([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]);
  for (let index = 0; index < 8; index++) state[4 + index] = word(key, index * 4);
  for (let index = 0; index < 3; index++) state[13 + index] = word(nonce, index * 4);
  state[12] = counter;
  const block = new Uint32Array(16);
  for (let offset = 0; offset < data.length; offset += 64) {
    block.set(state);
    for (let round = 0; round < 20; round += 2) doubleRound(block);
    const end = Math.min(64, data.length - offset);
    for (let index = 0; index < 16; index++) {
      block[index] = (block[index] as number) + (state[index] as number);
    }
    for (let index = 0; index < end; index++) {
      const stream = (block[index >> 2] as number) >>> ((index & 3) * 8);
      data[offset + index] = (data[offset + index] as number) ^ stream;
    }
    state[12] = (state[12] as number) + 1;
  }
}

function doubleRound(words: Uint32Array): void {
  quarter(words, 0, 4, 8, 12);
  quarter(words, 1, 5, 9, 13);
  quarter(words, 2, 6, 10, 14);
  quarter(words, 3, 7, 11, 15);
  quarter(words, 0, 5, 10, 15);
  quarter(words, 1, 6, 11, 12);
  quarter(words, 2, 7, 8, 13);
  quarter(words, 3, 4, 9, 14);
}

function quarter(words: Uint32Array, a: number, b: number, c: number, d: number): void {
  mix(words, a, b, d, 16);
  mix(words, c, d, b, 12);
  mix(words, a, b, d, 8);
  mix(words, c, d, b, 7);
}

// words[x] += words[y]; words[target] = (words[target] ^ words[x]) <<< shift
function mix(words: Uint32Array, x: number, y: number, target: number, shift: number): void {
  const sum = ((words[x] as number) + (words[y] as number)) | 0;
  words[x] = sum;
  const mixed = (words[target] as number) ^ sum;
  words[target] = (mixed << shift) | (mixed >>> (32 - shift));
}

/** Poly1305 over associated data, ciphertext and their lengths, under the first half of keystream block 0. */
function tagOf(key: Uint8Array, nonce: Uint8Array, body: Uint8Array, associated: Uint8Array): Uint8Array {
  const oneTime = new Uint8Array(32);
  applyKeystream(key, nonce, 0, oneTime);
  const paddedAssociated = Math.ceil(associated.length / 16) * 16;
  const paddedBody = Math.ceil(body.length / 16) * 16;
  const message = new Uint8Array(paddedAssociated + paddedBody + 16);
  message.set(associated);
  message.set(body, paddedAssociated);
  const lengths = new DataView(message.buffer, paddedAssociated + paddedBody);
  lengths.setUint32(0, associated.length, true);
  lengths.setUint32(8, body.length, true);
  return poly1305(oneTime, message);
}

// Numbers modulo 2^130 - 5 as ten limbs of 13 bits in doubles: a product of two limbs, times 5, summed ten times, stays
// below 2^33, far from where doubles lose bits.
const LIMBS = 10;

/** The authenticator, 16 bytes, of a message whose length is a multiple of 16 under a 32-byte key of one use. */
export function poly1305(key: Uint8Array, message: Uint8Array): Uint8Array {
  const clamped = key.slice(0, 17);
  clamped[16] = 0;
  for (const index of [3, 7, 11, 15]) clamped[index] = (clamped[index] as number) & 15;
  for (const index of [4, 8, 12]) clamped[index] = (clamped[index] as number) & 252;
  const r = new Float64Array(LIMBS);
  addLimbs(r, clamped);
  const sum = new Float64Array(LIMBS);
  const product = new Float64Array(LIMBS);
  const block = new Uint8Array(17);
  block[16] = 1;
  for (let offset = 0; offset < message.length; offset += 16) {
    block.set(message.subarray(offset, offset + 16));
    addLimbs(sum, block);
    multiply(product, sum, r);
    sum.set(product);
  }
  return finish(sum, key.subarray(16, 32));
}

// Adds a 17-byte little-endian number to `limbs`.
function addLimbs(limbs: Float64Array, bytes: Uint8Array): void {
  for (let index = 0; index < LIMBS; index++) {
    const bit = index * 13;
    const at = bit >> 3;
    const window = (bytes[at] as number) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
    limbs[index] = (limbs[index] as number) + ((window >>> (bit & 7)) & 0x1fff);
  }
}

function multiply(product: Float64Array, a: Float64Array, b: Float64Array): void {
  let carry = 0;
  for (let index = 0; index < LIMBS; index++) {
    let total = carry;
    for (let j = 0; j < LIMBS; j++) {
      // Limbs past the tenth weigh 2^130 more, which is 5.
      const factor = j <= index ? (b[index - j] as number) : 5 * (b[index - j + LIMBS] as number);
      total += (a[j] as number) * factor;
    }
    carry = Math.floor(total / 8192);
    product[index] = total - carry * 8192;
  }
  propagate(product, carry * 5);
}

// Adds `carry` at the lowest limb and brings every limb below 2^13.
function propagate(limbs: Float64Array, carry: number): void {
  let rest = carry;
  for (let pass = 0; pass < 2; pass++) {
    for (let index = 0; index < LIMBS; index++) {
      const total = (limbs[index] as number) + rest;
      rest = Math.floor(total / 8192);
      limbs[index] = total - rest * 8192;
    }
    rest *= 5;
  }
  limbs[0] = (limbs[0] as number) + rest;
}

// (sum mod 2^130 - 5) + pad, modulo 2^128.
function finish(sum: Float64Array, pad: Uint8Array): Uint8Array {
  propagate(sum, 0);
  const reduced = new Float64Array(LIMBS);
  let carry = 5;
  for (let index = 0; index < LIMBS; index++) {
    const total = (sum[index] as number) + carry;
    carry = Math.floor(total / 8192);
    reduced[index] = total - carry * 8192;
  }
  // carry is 1 exactly if sum >= 2^130 - 5: then `reduced` is the residue.
  for (let index = 0; index < LIMBS; index++) {
    sum[index] = (sum[index] as number) * (1 - carry) + (reduced[index] as number) * carry;
  }
  const tag = new Uint8Array(TAG_BYTES);
  let buffer = 0;
  let bits = 0;
  let limb = 0;
  let sumCarry = 0;
  for (let index = 0; index < TAG_BYTES; index++) {
    while (bits < 8) {
      buffer |= (sum[limb++] as number) << bits;
      bits += 13;
    }
    const total = (buffer & 0xff) + (pad[index] as number) + sumCarry;
    tag[index] = total;
    sumCarry = total >> 8;
    buffer >>>= 8;
    bits -= 8;
  }
  return tag;
}

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}
