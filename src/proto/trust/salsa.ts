/**
 * HSalsa20 (Bernstein, "Extending the Salsa20 nonce", 2011): turns a 32-byte X25519 secret into the key of a nacl box.
 * node:crypto computes X25519 but not this step.
 */

/** The key of the box between two X25519 keys, from their shared secret: HSalsa20 with a zero nonce. */
export function boxKey(shared: Uint8Array): Uint8Array {
  const secret = new DataView(shared.buffer, shared.byteOffset, 32);
  const words = new Uint32Array(16);
  words[0] = 0x61707865;
  words[5] = 0x3320646e;
  words[10] = 0x79622d32;
  words[15] = 0x6b206574;
  for (let index = 0; index < 4; index++) {
    words[1 + index] = secret.getUint32(index * 4, true);
    words[11 + index] = secret.getUint32(16 + index * 4, true);
  }
  for (let round = 0; round < 20; round += 2) {
    quarter(words, 0, 4, 8, 12);
    quarter(words, 5, 9, 13, 1);
    quarter(words, 10, 14, 2, 6);
    quarter(words, 15, 3, 7, 11);
    quarter(words, 0, 1, 2, 3);
    quarter(words, 5, 6, 7, 4);
    quarter(words, 10, 11, 8, 9);
    quarter(words, 15, 12, 13, 14);
  }
  const key = new Uint8Array(32);
  const view = new DataView(key.buffer);
  [0, 5, 10, 15, 6, 7, 8, 9].forEach((from, to) => {
    view.setUint32(to * 4, words[from] as number, true);
  });
  return key;
}

function quarter(words: Uint32Array, a: number, b: number, c: number, d: number): void {
  mix(words, b, a, d, 7);
  mix(words, c, b, a, 9);
  mix(words, d, c, b, 13);
  mix(words, a, d, c, 18);
}

// words[target] ^= (words[x] + words[y]) <<< shift
function mix(words: Uint32Array, target: number, x: number, y: number, shift: number): void {
  const sum = ((words[x] as number) + (words[y] as number)) | 0;
  words[target] = (words[target] as number) ^ ((sum << shift) | (sum >>> (32 - shift)));
}
