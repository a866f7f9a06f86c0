import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { isAcceptablePublicKey, isAcceptableSignature } from "../../../src/proto/trust/ed25519.ts";

const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

test("keys as they are generated are acceptable", () => {
  for (let run = 0; run < 50; run++) {
    const { publicKey } = generateKeyPairSync("ed25519");
    const raw = new Uint8Array(publicKey.export({ format: "der", type: "spki" }).subarray(-32));
    expect(isAcceptablePublicKey(raw)).toBe(true);
  }
});

/** The list of "Taming the many EdDSAs": every encoding, canonical or not, of a point of small order. */
const SMALL = [
  "0100000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000080",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000080",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

test.each(SMALL)("the point of small order %s is refused", (encoding) => {
  expect(isAcceptablePublicKey(fromHex(encoding))).toBe(false);
});

test("every y from p on is refused, and keys of another length", () => {
  for (let low = 0xed; low <= 0xff; low++) {
    const encoding = new Uint8Array(32).fill(0xff);
    encoding[0] = low;
    encoding[31] = 0x7f;
    expect(isAcceptablePublicKey(encoding)).toBe(false);
  }
  expect(isAcceptablePublicKey(new Uint8Array(31).fill(9))).toBe(false);
  expect(isAcceptablePublicKey(new Uint8Array(33).fill(9))).toBe(false);
});

test("the scalar of a signature is below the order of the group", () => {
  const order = fromHex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  const withScalar = (scalar: Uint8Array): Uint8Array => new Uint8Array([...new Uint8Array(32), ...scalar]);
  expect(isAcceptableSignature(withScalar(order))).toBe(false);
  const below = order.slice();
  below[0] = 0xec;
  expect(isAcceptableSignature(withScalar(below))).toBe(true);
  expect(isAcceptableSignature(withScalar(new Uint8Array(32).fill(0xff)))).toBe(false);
  expect(isAcceptableSignature(withScalar(below).subarray(1))).toBe(false);
});
