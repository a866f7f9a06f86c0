import { createCipheriv } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { hex, utf8 } from "../../../src/proto/bytes.ts";
import { chacha20Poly1305, poly1305 } from "../../../src/proto/trust/chacha20-poly1305.ts";

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replace(/\s/g, ""), "hex"));

test("the vector of RFC 8439, section 2.8.2", () => {
  const key = bytes("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
  const nonce = bytes("070000004041424344454647");
  const associated = bytes("50515253c0c1c2c3c4c5c6c7");
  const plain = utf8(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
  );
  const sealed = chacha20Poly1305(key).seal(nonce, plain, associated);
  expect(hex(sealed)).toBe(
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6" +
      "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36" +
      "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc" +
      "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
  );
  expect(chacha20Poly1305(key).open(nonce, sealed, associated)).toEqual(plain);
});

test("it gives the bytes of node:crypto for all lengths", () => {
  const lengths = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ minLength: 12, maxLength: 12 }),
      lengths,
      lengths,
      (key, nonce, plain, associated) => {
        const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
        cipher.setAAD(associated, { plaintextLength: plain.length });
        const expected = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
        expect(hex(chacha20Poly1305(key).seal(nonce, plain, associated))).toBe(hex(expected));
      },
    ),
    { numRuns: 400 },
  );
});

const ONES = "ff".repeat(16);
const ZEROS = "00".repeat(16);

// RFC 8439, appendix A.3, vectors 7 to 11 and the first of the two that follow: where sums reach or pass 2^130 - 5.
test.each([
  [`02${ZEROS.slice(2)}${ZEROS}`, ONES, `03${ZEROS.slice(2)}`],
  [`02${ZEROS.slice(2)}${ONES}`, `02${ZEROS.slice(2)}`, `03${ZEROS.slice(2)}`],
  [`01${ZEROS.slice(2)}${ZEROS}`, `${ONES}f0${ONES.slice(2)}11${ZEROS.slice(2)}`, `05${ZEROS.slice(2)}`],
  [`01${ZEROS.slice(2)}${ZEROS}`, `${ONES}fb${"fe".repeat(15)}${"01".repeat(16)}`, ZEROS],
  [`02${ZEROS.slice(2)}${ZEROS}`, `fd${ONES.slice(2)}`, `fa${ONES.slice(2)}`],
  [
    `0100000000000000040000000000000${"0".repeat(33)}`,
    "e33594d7505e43b900000000000000003394d7505e4379cd01000000000000000000000000000000000000000000000001000000000000000000000000000000",
    "14000000000000005500000000000000",
  ],
])("Poly1305 under %s holds where its carries are hardest", (key, message, tag) => {
  expect(hex(poly1305(bytes(key), bytes(message)))).toBe(tag);
});
