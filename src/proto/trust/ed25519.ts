/**
 * The checks of an Ed25519 key and signature that implementations disagree on (RFC 8032, section 5.1.7; "Taming the many
 * EdDSAs", Chalkias, Garillot and Nikolaenko, 2020). Made here, before any library is asked, so that every implementation
 * accepts exactly the same statements and no valid signature has a second form.
 *
 * - A public key is a canonical encoding (y < p) and not one of the eight points of small order, under which anybody can
 *   make a signature that holds for many messages.
 * - The scalar of a signature is below the group's order L: s and s + L would both hold otherwise.
 *
 * What remains is the cofactorless equation with a byte comparison of R, which both node:crypto and tweetnacl use.
 */

/** y of the points of small order, little-endian, the sign bit cleared; both signs of each are refused. */
const SMALL_ORDER: readonly string[] = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/** p = 2^255 - 19, and the order of the group, both little-endian. */
const P = fromHex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
const L = fromHex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
const SMALL_ORDER_BYTES = SMALL_ORDER.map(fromHex);

/** Whether `key` is 32 bytes that may be used as an Ed25519 public key. That it is on the curve shows when it is used. */
export function isAcceptablePublicKey(key: Uint8Array): boolean {
  if (key.length !== 32) return false;
  const y = key.slice();
  y[31] = (y[31] as number) & 0x7f;
  if (!isBelow(y, P)) return false;
  return !SMALL_ORDER_BYTES.some((point) => point.every((byte, index) => byte === y[index]));
}

/** Whether `signature` is 64 bytes with a canonical scalar. */
export function isAcceptableSignature(signature: Uint8Array): boolean {
  return signature.length === 64 && isBelow(signature.subarray(32), L);
}

// Little-endian a < b, for public values: the time may depend on them.
function isBelow(a: Uint8Array, b: Uint8Array): boolean {
  for (let index = a.length - 1; index >= 0; index--) {
    const difference = (a[index] as number) - (b[index] as number);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length / 2 }, (_, index) =>
    Number.parseInt(text.slice(index * 2, index * 2 + 2), 16),
  );
}
