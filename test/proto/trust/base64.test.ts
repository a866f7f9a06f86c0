import fc from "fast-check";
import { expect, test } from "vitest";
import { base64, base64url, fromBase64, fromBase64url } from "../../../src/proto/base64.ts";

test("base64 agrees with the platform's for every length", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(base64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
      expect(base64url(bytes)).toBe(Buffer.from(bytes).toString("base64url"));
      expect(fromBase64(base64(bytes))).toEqual(bytes);
      expect(fromBase64url(base64url(bytes))).toEqual(bytes);
    }),
  );
});

test("a text that decodes is the only text of its bytes", () => {
  const characters = fc.constantFrom(..."ABgz09+/-_= \n=é");
  fc.assert(
    fc.property(fc.string({ unit: characters, maxLength: 12 }), (text) => {
      const url = fromBase64url(text);
      if (url !== undefined) expect(base64url(url)).toBe(text);
      const standard = fromBase64(text);
      if (standard !== undefined) expect(base64(standard)).toBe(text);
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ["spare bits that are not zero", "AB"],
  ["a lone character", "A"],
  ["padding", "AA=="],
  ["the other alphabet", "+/8A"],
  ["a space", "AA AA"],
  ["a character beyond ASCII", "AAé"],
])("base64url refuses %s", (_, text) => {
  expect(fromBase64url(text)).toBeUndefined();
});

test.each(["A===", "AB==", "AA=", "AA", "=AAA", "A=AA", "-_8A", "===="])("base64 refuses %s", (text) => {
  expect(fromBase64(text)).toBeUndefined();
});
