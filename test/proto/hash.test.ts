import { expect, test } from "vitest";
import { utf8 } from "../../src/proto/bytes.ts";
import { hkdf, hmac, sha256 } from "../../src/proto/hash.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("HMAC and HKDF match RFC 4231 and RFC 5869", () => {
  const mac = hmac(sha256, utf8("Jefe"), utf8("what do ya want for nothing?"));
  expect(hex(mac)).toBe("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  const okm = hkdf(sha256, new Uint8Array(22).fill(0x0b), undefined, new Uint8Array(), 42);
  expect(hex(okm)).toBe("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
});
